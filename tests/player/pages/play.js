// Keeps every event of the element, and the worst distance between sound and picture.
window.events = [];
window.worst = 0;
addEventListener("DOMContentLoaded", () => {
  const film = document.getElementById("film");
  const names = "loadstart loadedmetadata durationchange canplay play playing pause waiting timeupdate seeking seeked ended error ratechange volumechange unsupported";
  for (const name of names.split(" ")) film.addEventListener(name, () => window.events.push(name));
  const look = () => {
    const frame = film.captureFrame?.();
    if (frame && !film.paused && !film.seeking && film.readyState === 4 && !film.audio.paused) {
      const end = frame.time + 1 / 25;
      const heard = film.audio.currentTime;
      window.worst = Math.max(window.worst, frame.time - heard, heard - end);
    }
    requestAnimationFrame(look);
  };
  look();
});
