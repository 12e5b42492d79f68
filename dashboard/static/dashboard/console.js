// Small comforts. Every page works without this file.
"use strict";

// A choice takes effect at once.
for (const select of document.querySelectorAll(".filter-bar select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// One press is enough, of any form that does something: a second one while the answer is on its way would do nothing.
// One listener for all: live parts come and go. The server counts a form once, too (dashboard/kit/once.py).
const pressed = new Map(); // forms that were sent, with the buttons that wait with them
const release = (form) => {
  for (const button of pressed.get(form) || []) button.disabled = false;
  pressed.delete(form);
};
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (pressed.has(form)) {
    event.preventDefault();
    return;
  }
  const buttons = [...form.querySelectorAll("button:not(:disabled), input[type=submit]:not(:disabled)")];
  pressed.set(form, buttons);
  // Not at once: a disabled button would not be sent along. And back, where no answer comes.
  setTimeout(() => { for (const button of buttons) button.disabled = true; });
  setTimeout(() => release(form), 15_000);
});
// Gone back to, as the browser kept the page.
window.addEventListener("pageshow", () => { for (const form of [...pressed.keys()]) release(form); });

// What scrolls can be reached by keyboard, also where the browser does not see to it.
const reachable = () => {
  for (const block of document.querySelectorAll("pre, section.module, .module.wide")) {
    const scrolls = block.scrollWidth > block.clientWidth || (block.matches("pre") && block.scrollHeight > block.clientHeight);
    if (scrolls) block.tabIndex = 0;
  }
};
reachable();
document.addEventListener("toggle", reachable, true);
document.addEventListener("live:swapped", reachable);
window.addEventListener("resize", reachable);

// The stock boxes for choosing from a long list name their help icon, but not as what.
window.addEventListener("load", () => {
  for (const icon of document.querySelectorAll("span.help-tooltip[aria-label]")) icon.setAttribute("role", "img");
});

// A form that comes back because something in it is wrong: one goes on at the first such field.
if (document.activeElement === document.body) {
  document.querySelector("#content :is([aria-invalid=true], .errors :is(input, select, textarea), .wrong :is(input, select, textarea)):not([type=hidden])")?.focus();
}

// Whether the navigation is folded is kept, in a cookie so that the server draws it so at once.
for (const folder of document.querySelectorAll(".nav-switch.on-desk")) {
  const root = document.querySelector("#site-name a");
  const path = root ? new URL(root.href).pathname : "/";
  folder.addEventListener("toggle", () => {
    document.cookie = `console_nav=${folder.open ? "" : "folded"}; path=${path}; max-age=${folder.open ? 0 : 31536000}; samesite=lax`;
  });
}

// What opens over the page closes when one goes elsewhere, or with Escape, which gives the focus back.
const over = [...document.querySelectorAll("#header .account, #header .nav-switch.on-phone")];
const elsewhere = (event) => {
  const inNav = event.target instanceof Element && event.target.closest(".console-nav") !== null;
  for (const each of over) {
    if (each.open && !each.contains(event.target) && !inNav) each.open = false;
  }
};
document.addEventListener("click", elsewhere);
document.addEventListener("focusin", elsewhere); // it would lie over what has the focus
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const each of over) {
    if (!each.open) continue;
    each.open = false;
    each.querySelector("summary").focus();
  }
});
