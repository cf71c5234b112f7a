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
uniform vec2 scale, shift, weight;
in vec2 at;
out vec4 colour;
void main() {
  vec2 chroma = at * scale + shift;
  vec3 yuv = vec3(dot(texture(y, at).rg, weight), dot(texture(u, chroma).rg, weight), dot(texture(v, chroma).rg, weight));
  colour = vec4(clamp(matrix * (yuv - offset), 0.0, 1.0), 1);
}`;

export class Renderer {
  /**
   * Throws where there is no WebGL2. `opaque` is quicker; but where Chromium draws without a GPU, an opaque canvas within
   * round corners blacks out a second place.
   */
  constructor(canvas, opaque = true) {
    this.canvas = canvas;
    this.video = null;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.make();
      if (this.video !== null) this.set(this.video);
      if (this.data !== undefined) this.draw(this.data);
    });
    this.gl = canvas.getContext("webgl2", { alpha: !opaque, antialias: false, preserveDrawingBuffer: true, desynchronized: false });
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
    // a sample is a byte, or the low and the high byte of a 16-bit number
    const [kind, parts] = video.depth > 8 ? [gl.RG8, gl.RG] : [gl.R8, gl.RED];
    this.parts = parts;
    this.sizes.forEach(([w, h], i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.texImage2D(gl.TEXTURE_2D, 0, kind, w, h, 0, parts, gl.UNSIGNED_BYTE, null);
    });
    const { matrix, offset, one } = conversion(video);
    gl.uniform2f(this.uniform("weight"), 255 / one, (256 * 255) / one);
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
    const each = video.depth > 8 ? 2 : 1;
    let at = 0;
    this.sizes.forEach(([w, h], i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, w, h, this.parts, gl.UNSIGNED_BYTE, data.subarray(at, at + each * w * h));
      at += each * w * h;
    });
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
