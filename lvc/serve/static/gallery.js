// Pictures fade in when they are there, and a missing one leaves its place dark.
for (const picture of document.querySelectorAll(".thumb img")) {
  if (picture.complete && picture.naturalWidth) continue;
  picture.classList.add("waiting");
  picture.addEventListener("load", () => picture.classList.remove("waiting"));
  picture.addEventListener("error", () => picture.classList.add("missing"));
}

// "/" goes to the search field, as elsewhere.
document.addEventListener("keydown", (event) => {
  const field = document.getElementById("q");
  if (event.key === "/" && document.activeElement !== field && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    field.focus();
    field.select();
  }
});
