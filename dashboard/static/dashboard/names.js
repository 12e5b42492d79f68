// Where there are too many types or queues for a select, names are suggested by what is typed. In a filter to choose one
// is enough; where one chooses some of them, what is chosen goes into the box above.
"use strict";

for (const input of document.querySelectorAll("input[data-names]")) {
  let turn = 0;
  const isChosen = (event) => (!event.inputType || event.inputType === "insertReplacementText")
    && [...input.list.options].some((option) => option.value === input.value);
  input.addEventListener("input", async (event) => {
    const now = ++turn;
    if (isChosen(event)) {
      const box = document.getElementById(input.dataset.adds);
      if (box) {
        box.value = [...box.value.split("\n").filter((name) => name.trim() && name !== input.value), input.value].join("\n");
        input.value = "";
      }
      if (input.form.getAttribute("role") === "search") input.form.requestSubmit();
      return;
    }
    await new Promise((then) => { setTimeout(then, 150); });
    if (now !== turn) return;
    try {
      const answer = await fetch(`${input.dataset.names}&part=${encodeURIComponent(input.value)}`, { credentials: "same-origin" });
      const { names } = answer.ok ? await answer.json() : {};
      if (names && now === turn) input.list.replaceChildren(...names.map((name) => new Option("", name)));
    } catch {
      // One can type the whole name.
    }
  });
}
