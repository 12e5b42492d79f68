// Small comforts. Every page works without this file.
"use strict";

// A button that copies the traceback above which it stands.
for (const block of document.querySelectorAll("pre[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Could not copy";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.before(button);
}

// A choice takes effect at once.
for (const select of document.querySelectorAll(".filter-bar select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// One press is enough: a second one while the answer is on its way would find that the job had moved on.
for (const form of document.querySelectorAll("form.verbs, form.confirm, form.inline")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  window.addEventListener("pageshow", () => { sent = false; });
}
