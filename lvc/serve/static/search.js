// Sends a picture or clip to be looked for; the answer is the address of a page with the results.
const form = document.getElementById("drop");
const field = document.getElementById("file");
const status = document.getElementById("status");

async function look(file) {
  if (!file) return;
  status.textContent = `Looking for ${file.name} …`;
  form.setAttribute("aria-busy", "true");
  field.disabled = true;
  try {
    const answer = await fetch("/api/search", { method: "POST", body: file });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    location.href = (await answer.json()).page;
  } catch (error) {
    status.textContent = `That did not work: ${error.message}.`;
  } finally {
    form.removeAttribute("aria-busy");
    field.disabled = false;
  }
}

field.addEventListener("change", () => look(field.files[0]));
form.addEventListener("submit", (event) => event.preventDefault());
for (const event of ["dragenter", "dragover"]) {
  form.addEventListener(event, (drag) => {
    drag.preventDefault();
    form.classList.add("over");
  });
}
form.addEventListener("dragleave", () => form.classList.remove("over"));
form.addEventListener("drop", (drag) => {
  drag.preventDefault();
  form.classList.remove("over");
  look(drag.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => look(event.clipboardData?.files[0]));
