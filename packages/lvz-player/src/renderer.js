/** Draws planes by WebGL2: colours, chroma between its samples, mirror and rotation. */
import { conversion, shownSize, siting } from "./colour.js";

const VERTEX = `#version 300 es
uniform mat2 turn;
out vec2 at;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0;
  gl_Position = vec4(corner * 2.0 - 1.0, 0, 1);
  at = turn * (vec2(corner.x, 1.0 - corner.y) - 0.5) + 0.5;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D y, u, v;
uniform mat3 matrix;
uniform vec3 offset;
uniform vec2 scale, shift;
in vec2 at;
out vec4 colour;
void main() {
  vec2 chroma = at * scale + shift;
  vec3 yuv = vec3(texture(y, at).r, texture(u, chroma).r, texture(v, chroma).r);
  colour = vec4(clamp(matrix * (yuv - offset), 0.0, 1.0), 1);
}`;

export class Renderer {
  /** Throws where there is no WebGL2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.video = null;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.make();
      if (this.video !== null) this.set(this.video);
      if (this.data !== undefined) this.draw(this.data);
    });
    this.gl = canvas.getContext("webgl2", { alpha: false, antialias: false, preserveDrawingBuffer: true, desynchronized: false });
    if (this.gl === null) throw new Error("this browser has no WebGL2");
    this.make();
  }

  make() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program) ?? "no shaders");
    gl.useProgram(program);
    this.uniform = (name) => gl.getUniformLocation(program, name);
    this.textures = ["y", "u", "v"].map((name, i) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
      gl.uniform1i(this.uniform(name), i);
      return texture;
    });
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  /** A video's VSTR. */
  set(video) {
    const { gl, canvas } = this;
    this.video = video;
    const { width, height } = video;
    this.sizes = [[width, height], [Math.ceil(width / 2), Math.ceil(height / 2)], [Math.ceil(width / 2), Math.ceil(height / 2)]];
    [canvas.width, canvas.height] = shownSize(video);
    this.sizes.forEach(([w, h], i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, w, h, 0, gl.RED, gl.UNSIGNED_BYTE, null);
    });
    const { matrix, offset } = conversion(video);
    gl.uniformMatrix3fv(this.uniform("matrix"), false, matrix);
    gl.uniform3fv(this.uniform("offset"), offset);
    // luma sample x lies at (x + ½)/width; chroma sample k at luma sample 2k + siting
    const [cw, ch] = this.sizes[1];
    const [right, down] = siting(video);
    gl.uniform2f(this.uniform("scale"), width / (2 * cw), height / (2 * ch));
    gl.uniform2f(this.uniform("shift"), (0.25 - right / 2) / cw, (0.25 - down / 2) / ch);
    // mirrored first, then turned clockwise: from where on the screen to where in the picture
    const angle = (-Math.round(video.rotation / 90) * Math.PI) / 2;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map((v) => (Math.abs(v) < 1e-9 ? 0 : v));
    const mirror = video.mirrored ? -1 : 1;
    gl.uniformMatrix2fv(this.uniform("turn"), false, [mirror * cos, sin, -mirror * sin, cos]);
  }

  /** Y, U and V one after the other, bytes, or 16-bit numbers of more than 8 bits. */
  draw(data) {
    const { gl, canvas, video } = this;
    this.data = data;
    const bytes = video.depth > 8 ? narrowed(data, video.depth) : data;
    let at = 0;
    this.sizes.forEach(([w, h], i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, w, h, gl.RED, gl.UNSIGNED_BYTE, bytes.subarray(at, at + w * h));
      at += w * h;
    });
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** 16-bit numbers of `depth` bits as bytes: screens show no more. */
function narrowed(data, depth) {
  const from = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
  const out = new Uint8ClampedArray(from.length);
  const by = 255 / (2 ** depth - 1);
  for (let i = 0; i < from.length; i++) out[i] = from[i] * by;
  return new Uint8Array(out.buffer);
}
