// After an action: what became of its few jobs is asked for at 0.5, 1 and 2 s, then at the usual pace until they have ended.
// The messages are said aloud, and the focus goes to them: from there one tab leads to Undo, and the keys to the list.
// Without this file the message says what it says, with a link to look again.
"use strict";

(() => {
  const FIRST = [500, 1000, 2000]; // ms after the page came
  const EVERY = 5000; // ms
  const LONGEST = 120_000; // ms: a job that waits so long is not what somebody waits for at this message
  const begun = performance.now();
  const say = (text) => document.dispatchEvent(new CustomEvent("live:say", { detail: text }));

  const follow = (spot) => {
    let said = "";
    const look = () => {
      const now = spot.querySelector(".became");
      if (!now) return false;
      const line = spot.closest("li");
      if (line) line.className = "failed" in now.dataset ? "warning" : line.dataset.level;
      if ("begun" in now.dataset) {
        const undo = line?.querySelector("form.undo");
        if (undo && !undo.contains(document.activeElement)) undo.hidden = true;
      }
      const goesOn = "goesOn" in now.dataset;
      if (now.dataset.say !== said) {
        if (!goesOn) say(now.dataset.say);
        said = now.dataset.say;
      }
      return goesOn;
    };

    const ask = async () => {
      const answer = await fetch(spot.dataset.from, { credentials: "same-origin", cache: "no-store", redirect: "manual" });
      if (!answer.ok) return false; // no longer signed in, or the server is away: live.js says so
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [fresh, shown] = [page.querySelector(".became"), spot.querySelector(".became")];
      if (!fresh || !shown) return false;
      if (fresh.outerHTML !== shown.outerHTML) {
        shown.replaceWith(document.adoptNode(fresh));
        document.dispatchEvent(new Event("live:ask")); // the page's own parts have changed, too
      }
      return look();
    };

    let step = 0;
    const later = () => {
      const since = performance.now() - begun;
      if (since > LONGEST) return;
      const wait = step < FIRST.length ? Math.max(FIRST[step] - since, 0) : EVERY;
      step += 1;
      setTimeout(async () => {
        try {
          if (document.hidden || await ask()) later();
        } catch {
          later();
        }
      }, wait);
    };
    if (look()) later();
  };

  const told = (line) => [...line.childNodes]
    .filter((node) => node.nodeType === Node.TEXT_NODE || node.matches?.(".followed"))
    .map((node) => node.textContent.replace(/\s+/g, " ").trim()).filter(Boolean).join(" ");
  const messages = document.querySelector("ul.messagelist");
  if (messages) {
    const lines = [...messages.querySelectorAll("li")];
    const text = lines.map(told).join(" ");
    document.dispatchEvent(new CustomEvent("live:say", {
      detail: { text, isUrgent: lines.some((line) => line.dataset.level === "error") },
    }));
    if (document.activeElement === document.body && !location.hash) {
      messages.tabIndex = -1;
      messages.focus({ preventScroll: true });
    }
  }

  for (const spot of document.querySelectorAll(".followed[data-from]")) follow(spot);
})();
