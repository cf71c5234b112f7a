// ?src=ADDRESS&t=SECONDS names what to play.
const film = document.getElementById("film");
const address = document.getElementById("address");
const given = new URLSearchParams(location.search);
address.value = given.get("src") ?? address.value;
if (given.has("t")) film.setAttribute("start", given.get("t"));
film.src = address.value;
document.getElementById("open").addEventListener("submit", (event) => {
  event.preventDefault();
  film.removeAttribute("start");
  film.src = address.value;
});
