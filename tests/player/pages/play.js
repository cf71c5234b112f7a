// Keeps every event of the element, and the worst distance of a picture, when it is drawn, from the clock that the sound gives.
window.events = [];
window.worst = 0;
addEventListener("DOMContentLoaded", () => {
  const film = document.getElementById("film");
  const names = "loadstart loadedmetadata durationchange canplay play playing pause waiting timeupdate seeking seeked ended error ratechange volumechange unsupported";
  for (const name of names.split(" ")) film.addEventListener(name, () => window.events.push(name));
  const whole = WebGL2RenderingContext.prototype.drawArrays;
  WebGL2RenderingContext.prototype.drawArrays = function (...given) {
    const frame = film.captureFrame?.();
    if (frame && !film.paused && !film.seeking && film.readyState === 4 && film.currentTime < film.duration) {
      window.worst = Math.max(window.worst, frame.time - film.currentTime, film.currentTime - (frame.time + 1 / 25));
    }
    return whole.apply(this, given);
  };
});
