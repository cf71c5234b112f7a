// Draws planes and gives back what the canvas shows.
import { Renderer } from "/player/renderer.js";

/** RGB, row by row from the top, of planes given as a list of numbers. */
window.draw = (video, planes) => {
  const canvas = document.createElement("canvas");
  const renderer = new Renderer(canvas);
  renderer.set(video);
  renderer.draw(video.depth > 8 ? new Uint8Array(Uint16Array.from(planes).buffer) : Uint8Array.from(planes));
  const { gl } = renderer;
  const { width, height } = canvas;
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const rgb = [];
  for (let y = height - 1; y >= 0; y--) for (let x = 0; x < width; x++) rgb.push(...pixels.subarray(4 * (y * width + x), 4 * (y * width + x) + 3));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return { width, height, rgb };
};
window.ready = true;
