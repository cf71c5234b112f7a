/**
 * While a picture is sought, workers that have nothing to do lend a hand to the one that decodes: each has an instance of
 * the engine on the same memory (wasm/pool.c). Only where pages are cross-origin isolated; elsewhere there are none.
 */
import { Engine } from "./engine.js";

const STACK_BYTES = 1 << 18;
const MOST = 3; // besides the worker that asks

/** The side that asks. `name` is what the others know this engine by. */
export class Hands {
  constructor(engine, name, ports) {
    Object.assign(this, { engine, name, ports: ports.slice(0, MOST) });
    const { module, memory } = engine;
    this.ports.forEach((port, i) => {
      port.postMessage({ op: "hand", name, module, memory, stack: engine.allocate(STACK_BYTES) + STACK_BYTES, number: i + 1 });
    });
  }

  /** What `work`, which does not wait for anything, gives. */
  during(work) {
    if (this.ports.length === 0) return work();
    const ticket = this.engine.call("ask");
    for (const port of this.ports) port.postMessage({ op: "lend", name: this.name, ticket });
    try {
      return work();
    } finally {
      this.engine.call("dismiss");
    }
  }
}

/** The side that lends. */
export class Hand {
  constructor({ module, memory, stack, number }) {
    this.number = number;
    this.engine = new Engine(module, memory);
    this.engine.exports.__stack_pointer.value = stack;
  }

  /** Until it is dismissed; at once if it has been already. */
  lend(ticket) {
    this.engine.call("lend", this.number, ticket);
  }
}
