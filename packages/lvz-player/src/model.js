/**
 * Model files: every check of formats/decoder.md, section 8, and the way into the engine. A model may come from a
 * stranger's file: nothing in it is believed.
 */
import { CorruptError, LvzError, known, limit, need } from "./errors.js";

const MAX_MODEL = 64 << 20;
const OPS = ["conv", "depthwise", "block", "gain", "hyper", "code"];
const MODES = ["point", "down2", "up2", "down3"];
const TAPS = { point: 1, down2: 4, up2: 1, down3: 9 };
const MOVE = { point: 0, down2: 1, up2: -1, down3: 1 };
const KINDS = ["u7", "s16"];
const TYPES = { I8: Int8Array, U8: Uint8Array, I16: Int16Array, U16: Uint16Array, I32: Int32Array, U32: Uint32Array };
const INPUTS = { key: [], predicted: [["s16", 3, 96], ["s16", 3, 96], ["u7", 4, 1]] };

const own = (object, key) => (object !== null && typeof object === "object" && Object.hasOwn(object, key) ? object[key] : undefined);

function list(value, most, what) {
  need(Array.isArray(value), `${what} of a model is no list`);
  limit(value.length, most, `${what} of a model`);
  return value;
}

function within(value, low, high, what) {
  need(Number.isInteger(value) && value >= low && value <= high, `${what} of a model is ${String(value)}, not ${low} … ${high}`);
  return value;
}

/** Inflates what `decoder_only` of lvc made; other bytes are given back as they are. */
export async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const parts = [];
  let total = 0;
  try {
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      total += value.length;
      limit(total, MAX_MODEL, "bytes of a model");
      parts.push(value);
    }
  } catch (error) {
    if (error instanceof LvzError) throw error;
    throw new CorruptError("a model does not unpack");
  }
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Rows of biases come as differences to the row before, low bytes first. */
function sumOfRows(bytes, rows, columns) {
  const n = rows * columns;
  const out = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const difference = bytes[i] | (bytes[n + i] << 8) | (bytes[2 * n + i] << 16) | (bytes[3 * n + i] << 24);
    out[i] = (i < columns ? 0 : out[i - columns]) + difference;
  }
  return out;
}

function arrays(header, data, packed) {
  const out = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const type = own(entry, "dtype");
    const Values = own(TYPES, type);
    need(Values !== undefined, "an array's type in a model");
    const shape = list(own(entry, "shape"), 8, "an array's shape");
    const count = shape.reduce((n, side) => n * within(side, 0, MAX_MODEL, "an array's side"), 1);
    const [start, end] = list(own(entry, "data_offsets"), 2, "an array's place");
    within(start, 0, data.length, "an array's start");
    within(end, start, data.length, "an array's end");
    need(end - start === count * Values.BYTES_PER_ELEMENT, "an array's size in a model");
    const bytes = data.slice(start, end); // aligned by that
    const turned = packed && name.endsWith("/bias") && shape.length === 2 && shape[0] > 1 && type === "I32";
    out.set(name, { type, shape, values: turned ? sumOfRows(bytes, ...shape) : new Values(bytes.buffer) });
  }
  return out;
}

function shaped(array, type, ...shape) {
  const fits = array !== undefined && array.type === type && array.shape.length === shape.length;
  need(fits && shape.every((side, i) => side === array.shape[i]), "an array of a model does not fit");
  return array.values;
}

const half = (shift) => (shift > 0 ? 2 ** (shift - 1) : 0);

/** Σ|weight| · largest + max|bias| + half(shift) stays below `bound` for every output. */
function checkSums(part, [rows, columns], acrossRows, outputs, levels, single, wide, largest) {
  need(part !== undefined, "a layer lacks weights");
  const weight = shaped(part.weight, wide ? "I16" : "I8", rows, columns);
  need(part.bias?.shape.length === 2, "a model's biases");
  const levelRows = single ? 1 : part.bias.shape[0];
  need(levelRows > 0 && levels % levelRows === 0, "a model's rows by level");
  const bias = shaped(part.bias, "I32", levelRows, outputs);
  const shift = shaped(part.shift, "U8", outputs);
  const bound = wide ? 2 ** 31 : 2 ** 24;
  const most = new Float64Array(outputs);
  for (let i = 0; i < bias.length; i++) most[i % outputs] = Math.max(most[i % outputs], Math.abs(bias[i]));
  const sums = new Float64Array(outputs);
  for (let i = 0; i < weight.length; i++) sums[acrossRows ? i % columns : Math.floor(i / columns)] += Math.abs(weight[i]);
  for (let i = 0; i < outputs; i++) {
    within(shift[i], 0, 24, "a shift");
    need(sums[i] * largest + most[i] + half(shift[i]) < bound, "a sum of a model could overflow");
  }
}

function checkTables(reach, frequencies) {
  const reaches = shaped(reach, "U16", 64);
  let size = 0;
  for (let i = 1; i < 64; i++) size += 2 * within(reaches[i], 1, 2046, "a table's reach") + 2;
  const values = shaped(frequencies, "U32", size);
  for (let i = 1, at = 0; i < 64; i++) {
    let sum = 0;
    for (let k = 0; k < 2 * reaches[i] + 2; k++) sum += within(values[at++], 1, 65536, "a frequency");
    need(sum === 65536, "a table's sum");
  }
}

function checkLap(array, n) {
  const values = shaped(array, "I16", n, n);
  for (let j = 0; j < n; j++) {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += Math.abs(values[n * k + j]);
    need(sum * 32768 + 8192 < 2 ** 31, "a lapping matrix could overflow");
  }
}

function readLayer(name, i, said, found) {
  const whole = (key) => {
    const value = own(said, key);
    need(Number.isInteger(value), `a layer's ${key} is no integer`);
    return value;
  };
  const layer = {
    op: own(said, "op"), mode: own(said, "mode"), wide: Boolean(own(said, "wide")), leaky: Boolean(own(said, "leaky")),
    zeros: list(own(said, "zeros"), 3, "a layer's zeros"), sources: list(own(said, "sources"), 8, "a layer's sources"),
    parts: [],
  };
  for (const key of ["out", "outputs", "limit", "step", "zero", "high", "add", "gate_shift"]) layer[key] = whole(key);
  while (layer.parts.length < 5 && found.has(`${name}/${i}/${layer.parts.length}/weight`)) {
    const at = `${name}/${i}/${layer.parts.length}/`;
    layer.parts.push({ weight: found.get(`${at}weight`), bias: found.get(`${at}bias`), shift: found.get(`${at}shift`) });
  }
  layer.gain = found.get(`${name}/${i}/gain`);
  layer.gainShift = found.get(`${name}/${i}/gain_shift`);
  layer.tables = found.get(`${name}/${i}/tables`);
  return layer;
}

function checkCode(layer, before, program, model) {
  const [, kind, scale, channels] = program.tensors[layer.out];
  need(model.tables !== null && layer.sources.length === 2, "`code` without tables");
  need(kind === "s16" && scale === 4 && channels % 4 === 0 && layer.outputs === channels, "latents do not fit");
  const wanted = ["s16", "u7"];
  layer.sources.forEach(([t], k) => {
    const [, sourceKind, sourceScale, sourceChannels] = program.tensors[t];
    need(sourceKind === wanted[k] && sourceScale === scale && 4 * sourceChannels === channels, "means and indices do not fit");
  });
  need(!program.inputs.includes(layer.out), "latents do not fit");
  const steps = [...before, layer].filter((other) => other.out === layer.out);
  need(steps.length <= 4 && steps.every((other, s) => other.op === "code" && other.step === s), "steps out of order");
  const index = before.find((other) => other.out === layer.sources[1][0]);
  need(index !== undefined && index.op === "conv" && index.high <= 63, "indices may name no table");
}

function checkLayer(layer, before, program, written, model) {
  const { op, outputs, sources } = layer;
  const tensors = program.tensors;
  need(OPS.includes(op), "a model's layer is of no known kind");
  within(layer.out, 0, tensors.length - 1, "a layer's output");
  within(sources.length, op === "hyper" ? 0 : 1, 8, "a layer's sources");
  for (const source of sources) {
    need(Array.isArray(source) && source.length === 3 && written.has(source[0]), "a layer reads what is not written");
    within(source[1], 0, 8, "a shift of reading");
    within(source[2], 0, 127, "a zero point");
  }
  within(outputs, 1, 1024, "a layer's outputs");
  within(layer.zero, 0, 127, "a zero point");
  within(layer.high, 0, 127, "an upper bound");
  within(layer.step, -1, 3, "a step");
  if (op === "code") {
    checkCode(layer, before, program, model);
    return;
  }
  need(!written.has(layer.out), "a tensor is written twice");
  const [, kind, scale, channels] = tensors[layer.out];
  const from = sources.map(([t]) => tensors[t].slice(1));
  const step = layer.step >= 0;
  need(!step || (op === "conv" && layer.mode === "point" && outputs % 4 === 0), "a step in a layer without");
  need(channels === (step ? outputs / 4 : outputs), "outputs do not fit");
  if (layer.add >= 0) {
    need(["conv", "depthwise", "gain"].includes(op) && written.has(layer.add) && kind === "s16", "an addend of a model");
    const [, addKind, addScale, addChannels] = tensors[layer.add];
    need(addKind === kind && addScale === scale && addChannels === channels, "an addend of a model");
  }
  const sums = (part, shape, acrossRows, count, single, wide = false) =>
    checkSums(part, shape, acrossRows, count, model.levels, single, wide, wide ? layer.limit : 127);
  const rowsOf = (array) => {
    need(array !== undefined && array.shape.length === 2, "a model's rows by level");
    need(array.shape[0] > 0 && model.levels % array.shape[0] === 0, "a model's rows by level");
    return array.shape[0];
  };
  const parts = layer.parts;
  const same = (k) => from[k][0] === "s16" && from[k][1] === scale && from[k][2] === channels;
  if (op === "conv") {
    need(MODES.includes(layer.mode) && parts.length === 1, "a convolution's mode");
    need(from.every(([, sourceScale]) => sourceScale + MOVE[layer.mode] === scale), "scales do not fit");
    need(!layer.wide || [kind, ...from.map(([k]) => k)].every((k) => k === "s16"), "a wide layer of u7");
    within(layer.limit, 1, 32767, "a limit");
    const inputs = TAPS[layer.mode] * from.reduce((n, [, , c]) => n + c, 0);
    const rows = outputs * (layer.mode === "up2" ? 4 : 1);
    sums(parts[0], [rows, inputs], false, rows, false, layer.wide);
  } else if (op === "depthwise") {
    need(from.length === 1 && parts.length === 1, "a depthwise layer does not fit");
    need(from[0][0] === "u7" && from[0][1] === scale && from[0][2] === channels, "a depthwise layer does not fit");
    sums(parts[0], [9, outputs], true, outputs, true);
  } else if (op === "block") {
    need(sources.length === 2 && parts.length === 5 && layer.zeros.length === 3, "a block does not fit");
    need(sources[0][0] === sources[1][0], "a block with two trunks");
    need(same(0) && kind === "s16", "a block does not fit");
    for (const zero of layer.zeros) within(zero, 0, 127, "a zero point");
    within(layer.gate_shift, 0, 14, "a gate's shift");
    [outputs, 0, outputs, 2 * outputs, outputs].forEach((rows, k) =>
      sums(parts[k], rows ? [rows, outputs] : [9, outputs], rows === 0, rows || outputs, true),
    );
  } else if (op === "gain") {
    need(from.length === 1 && same(0) && kind === "s16", "a gain does not fit");
    const rows = rowsOf(layer.gain);
    shaped(layer.gain, "I16", rows, channels);
    for (const shift of shaped(layer.gainShift, "U8", rows)) within(shift, 0, 24, "a gain's shift");
  } else {
    need(model.tables !== null && sources.length === 0 && kind === "s16" && scale > 3, "`hyper` does not fit");
    for (const table of shaped(layer.tables, "U8", rowsOf(layer.tables), channels)) within(table, 0, 63, "a table");
  }
}

function multiplications(layer, tensors) {
  const up = layer.op === "conv" && layer.mode === "up2";
  const area = 4 ** (3 - tensors[layer.out][2] - (up ? 1 : 0));
  const c = layer.outputs;
  if (layer.op === "block") return area * (5 * c * c + 9 * c);
  if (layer.op === "depthwise") return area * 9 * c;
  if (layer.op !== "conv") return area * c;
  const inputs = TAPS[layer.mode] * layer.sources.reduce((n, [t]) => n + tensors[t][3], 0);
  return area * inputs * c * (up ? 4 : layer.step >= 0 ? 0.25 : 1);
}

/** The most that tensors take while any layer runs, for a pixel at 1/8; channels are padded to 32. */
function liveBytes({ tensors, layers, inputs, outputs }) {
  const first = new Map(inputs.map((t) => [t, 0]));
  const last = new Map(outputs.map((t) => [t, layers.length]));
  layers.forEach((layer, i) => {
    if (!first.has(layer.out)) first.set(layer.out, i);
    for (const t of [layer.out, layer.add, ...layer.sources.map((s) => s[0])]) last.set(t, Math.max(last.get(t) ?? 0, i));
  });
  const sizes = tensors.map(([, kind, scale, c]) => Math.ceil(c / 32) * 32 * (kind === "s16" ? 2 : 1) * 4 ** (3 - scale));
  let most = 0;
  for (let i = 0; i <= layers.length; i++) {
    let bytes = 0;
    for (const [t, from] of first) if (from <= i && i <= (last.get(t) ?? 0)) bytes += sizes[t];
    most = Math.max(most, bytes);
  }
  return most;
}

function readProgram(name, said, found, model) {
  const tensors = list(own(said, "tensors"), 512, "tensors");
  for (const tensor of tensors) {
    need(Array.isArray(tensor) && tensor.length === 4 && KINDS.includes(tensor[1]), "a tensor of a model");
    within(tensor[2], 3, 7, "a tensor's scale");
    within(tensor[3], 1, 1024, "a tensor's channels");
  }
  const inputs = list(own(said, "inputs"), 512, "inputs");
  const outputs = list(own(said, "outputs"), 512, "outputs");
  for (const i of [...inputs, ...outputs]) within(i, 0, tensors.length - 1, "an input or output");
  const written = new Set(inputs);
  need(written.size === inputs.length, "an input comes twice");
  const program = { tensors, inputs, outputs, layers: [] };
  list(own(said, "layers"), 256, "layers").forEach((entry, i) => {
    const layer = readLayer(name, i, entry, found);
    checkLayer(layer, program.layers, program, written, model);
    written.add(layer.out);
    program.layers.push(layer);
  });
  need(outputs.every((t) => written.has(t)), "an output is not written");
  limit(program.layers.reduce((n, layer) => n + multiplications(layer, tensors), 0), 4_000_000, "multiplications of a model");
  limit(liveBytes(program), 16384, "bytes that a model needs for a block");
  return program;
}

/** A model file (or what `unpacked` gave) → {levels, programs, tables, laps}, checked. */
export function readModel(bytes) {
  limit(bytes.length, MAX_MODEL, "bytes of a model");
  need(bytes.length >= 8, "a model is too short");
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  need(size <= Math.min(bytes.length - 8, 4 << 20), "a model is too short");
  let header, said, packed;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + size)));
    const about = own(header, "__metadata__");
    said = JSON.parse(own(about, "lvc.programs"));
    packed = own(about, "lvc.packed");
  } catch {
    throw new CorruptError("a model's header is damaged");
  }
  need(own(said, "version") !== undefined, "a model without a version");
  known(said.version === 1, "a model of another version");
  known(packed === undefined || packed === "1", "a model packed in another way");
  const found = arrays(header, bytes.subarray(8 + size), packed === "1");
  const model = { levels: within(own(said, "levels"), 1, 1024, "levels"), programs: {}, tables: null, laps: null };
  if (found.has("tables/reach")) {
    checkTables(found.get("tables/reach"), found.get("tables/frequencies"));
    model.tables = { reach: found.get("tables/reach").values, frequencies: found.get("tables/frequencies").values };
  }
  if (found.has("laps/luma")) {
    checkLap(found.get("laps/luma"), 16);
    checkLap(found.get("laps/chroma"), 8);
    model.laps = { luma: found.get("laps/luma").values, chroma: found.get("laps/chroma").values };
  }
  const programs = own(said, "programs");
  need(programs !== null && typeof programs === "object", "a model's programs");
  limit(Object.keys(programs).length, 16, "programs of a model");
  for (const [name, program] of Object.entries(programs)) model.programs[name] = readProgram(name, program, found, model);
  need(model.levels === 768 && model.tables !== null && model.laps !== null, "the model is none for video");
  for (const [name, inputs] of Object.entries(INPUTS)) {
    const program = own(model.programs, name);
    need(program !== undefined, `the model has no program \`${name}\``);
    const shapes = (numbers) => numbers.map((t) => program.tensors[t].slice(1).join());
    need(shapes(program.inputs).join(" ") === inputs.join(" "), `inputs of \`${name}\``);
    const out = shapes(program.outputs);
    need(out.length === 2 && out[0] === "s16,3,96" && out[1].startsWith("s16,4,"), `outputs of \`${name}\``);
  }
  return model;
}

/** Loads a program of a model into the engine; → its address. */
export function loadProgram(engine, model, name) {
  const program = model.programs[name];
  const kept = [];
  const put = (array) => {
    const at = engine.put(array);
    kept.push(at);
    return at;
  };
  const valuesOf = (array) => (array === undefined ? 0 : put(array.values));
  const tensors = put(Int32Array.from(program.tensors.flatMap(([, kind, scale, c]) => [KINDS.indexOf(kind), scale, c])));
  const words = [];
  for (const layer of program.layers) {
    const eight = (k) => Array.from({ length: 8 }, (_, i) => layer.sources[i]?.[k] ?? 0);
    const levels = layer.gain ?? layer.tables ?? layer.parts[0]?.bias;
    const parts = layer.parts.flatMap((p) => [valuesOf(p.weight), valuesOf(p.bias), valuesOf(p.shift)]);
    if (layer.op === "hyper") parts.push(0, 0, valuesOf(layer.tables));
    while (parts.length < 15) parts.push(0);
    words.push(
      OPS.indexOf(layer.op), layer.out, layer.op === "block" ? 1 : layer.sources.length, ...eight(0), ...eight(1), ...eight(2),
      Math.max(0, MODES.indexOf(layer.mode)), Number(layer.wide), layer.limit, layer.step, layer.outputs,
      Number(layer.leaky), layer.zero, layer.high, layer.add, ...[0, 1, 2].map((k) => layer.zeros[k] ?? 0),
      layer.gate_shift, levels === undefined ? 1 : levels.shape[0], ...parts, valuesOf(layer.gain), valuesOf(layer.gainShift),
    );
  }
  const layers = put(Int32Array.from(words));
  const [inputs, outputs] = [put(Int32Array.from(program.inputs)), put(Int32Array.from(program.outputs))];
  const tables = put(Int32Array.of(put(model.tables.frequencies), put(model.tables.reach)));
  const made = engine.call(
    "lvc_program_new", 0, model.levels, tensors, program.tensors.length, layers, program.layers.length,
    inputs, program.inputs.length, outputs, program.outputs.length, tables,
  );
  for (const at of kept) engine.call("release", at);
  if (made === 0) throw new LvzError("no memory for the model");
  return made;
}

/** Channels of the latents that a program gives as its second output. */
export const latentsOf = (program) => program.tensors[program.outputs[1]][3];
