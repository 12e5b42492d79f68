// Live parts: elements with an id and data-live are fetched anew from the page's own address every few seconds.
// What is marked "now" is asked for at once: the server had only begun to count; what is marked "soon", each second.
// They stay as they are while somebody uses them, and while the tab is hidden. Every page works without this file.
"use strict";

(() => {
  const EVERY = 5000; // ms
  const SOON = 1000; // ms
  const LONGEST = 60000; // ms between tries while the server does not answer
  // What a part has to say aloud (data-say) when that changes: in regions that are on every page from the start, or screen
  // readers miss it. What needs somebody now interrupts; the rest waits until they have heard what they are at.
  const tell = (text, isUrgent = false) => {
    const region = document.getElementById(isUrgent ? "live-alarm" : "live-told");
    // A region that is new is listened to a moment later.
    if (region) setTimeout(() => { region.textContent = text; }, 100);
  };

  // What others have to say aloud goes through the same regions.
  document.addEventListener("live:say", (event) => tell(event.detail.text ?? event.detail, event.detail.isUrgent));
  const parts = () => [...document.querySelectorAll("[id][data-live]")];
  // What is marked "too" comes along, and is no reason to ask.
  const worthIt = (some) => some.some((part) => part.dataset.live !== "too");
  if (!worthIt(parts())) return;
  // What a part says, but for words such as "3 min ago", which times.js keeps fresh, and each form's token and key: nothing is announced twice.
  const gist = (part) => part.outerHTML.replace(/(<time[^>]*>)[^<]*/g, "$1").replace(/<input[^>]*(csrfmiddlewaretoken|form_key)[^>]*>/g, "");
  const seen = new WeakMap(parts().map((part) => [part, gist(part)]));
  let asOf = new Date();
  let wait = EVERY;
  let timer = 0;
  let under = false;

  // Nothing moves under the cursor: what is focused, ticked, typed, opened or marked stays.
  const inUse = (part) => {
    if (part.contains(document.activeElement)) return true;
    if (part.querySelector("input[type=checkbox]:checked, details[open], dialog[open]")) return true;
    if ([...part.querySelectorAll("input[type=text]")].some((field) => field.value !== field.defaultValue)) return true;
    const marked = document.getSelection();
    return Boolean(marked && !marked.isCollapsed && marked.containsNode(part, true));
  };

  // The catalog is there only where the page is not in English.
  const gettext = window.gettext || ((words) => words);
  const clock = (at) => at.toLocaleTimeString([], { hour12: false, timeZoneName: "short" });

  const say = (text, isUrgent = false) => {
    let line = document.getElementById("live-status");
    if (!line) {
      if (!text) return;
      line = document.createElement("p");
      line.id = "live-status";
      line.className = "live-status";
      const content = document.getElementById("content") || document.body;
      content.prepend(line);
    }
    if (line.textContent === text) return;
    if (line.hidden || !line.textContent) tell(text, isUrgent); // once, not at each try
    line.textContent = text;
    line.hidden = !text;
  };

  // Nobody is at anything: the focus is nowhere, or at what was said when the page came.
  const idle = () => document.activeElement === document.body || document.activeElement?.matches(".messagelist");

  const failed = () => {
    const text = gettext("Live data as of %(time)s: the server does not answer. Trying again.");
    say(text.replace("%(time)s", clock(asOf)));
    wait = Math.min(wait * 2, LONGEST);
  };

  // What is around the page, such as the navigation's counts and the icon (data-around), comes with each answer.
  const freshen = (page) => {
    for (const element of document.querySelectorAll("[id][data-around]")) {
      const fresh = page.getElementById(element.id);
      if (fresh && fresh.outerHTML !== element.outerHTML) element.replaceWith(document.adoptNode(fresh));
    }
  };

  const refresh = async () => {
    const wanted = parts().filter((part) => !inUse(part));
    if (!worthIt(wanted)) return;
    const answer = await fetch(location.href, {
      headers: { "X-Live": wanted.map((part) => part.id).join(",") },
      credentials: "same-origin",
      cache: "no-store",
      redirect: "manual", // a session that ended leads to the log-in page
      signal: AbortSignal.timeout(20000),
    });
    if (answer.type === "opaqueredirect" || answer.status === 403) {
      const text = gettext("Live data as of %(time)s: you are no longer signed in. Load the page again.");
      say(text.replace("%(time)s", clock(asOf)), true);
      under = true;
      return;
    }
    if (answer.status === 429) return; // many ask at this moment: its turn comes again
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of wanted) {
      const fresh = page.getElementById(part.id);
      if (!fresh && idle()) {
        location.reload(); // the page has become another one, such as the first with any job
        return;
      }
      if (!fresh || inUse(part) || !part.isConnected) continue;
      const now = gist(fresh);
      if (now === seen.get(part)) continue;
      const node = document.adoptNode(fresh);
      const told = node.dataset.say;
      if (told && told !== part.dataset.say) tell(told);
      part.replaceWith(node);
      seen.set(node, now);
      node.dispatchEvent(new CustomEvent("live:swapped", { bubbles: true }));
    }
    freshen(page);
    asOf = new Date();
    wait = EVERY;
    say("");
  };

  const later = () => {
    clearTimeout(timer);
    const soon = wait === EVERY && parts().some((part) => part.dataset.live === "soon");
    // Many open pages must not ask at the same moment.
    timer = setTimeout(turn, (soon ? SOON : wait) * (0.85 + 0.3 * Math.random()));
  };

  // What has come to its end, such as a job, is sent without a mark, and is not asked for again.
  const goesOn = () => !document.hidden && !under && worthIt(parts());

  const turn = async () => {
    if (!goesOn()) return;
    try {
      await refresh();
    } catch {
      failed();
    }
    if (goesOn()) later();
  };

  for (const event of ["visibilitychange", "live:ask"]) {
    document.addEventListener(event, () => {
      clearTimeout(timer);
      turn();
    });
  }
  if (parts().some((part) => part.dataset.live === "now")) turn();
  else later();
})();
