"use strict";
// Shows a run while it goes on. What has changed is asked for again and again; a question that
// fails is asked again. Parts that did not change stay, and with them the focus and what is open.
const EVERY = 300; // milliseconds
const run = document.getElementById("run");
const state = document.getElementById("state");

function carryOver(old, part) {
  for (const open of old.querySelectorAll("details[open]")) {
    part.querySelector(`#${open.id}`)?.setAttribute("open", "");
  }
  const focused = old.contains(document.activeElement) && document.activeElement.id;
  old.replaceWith(part);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function show(part) {
  const old = document.getElementById(part.id);
  if (!old) run.append(part);
  else if (old.dataset.version !== part.dataset.version) carryOver(old, part);
}

function tell(overview) {
  const over = "over" in overview.dataset;
  if (state.textContent !== overview.dataset.state) state.textContent = overview.dataset.state;
  state.classList.toggle("busy", !over);
  state.classList.toggle("calm", over);
  return over;
}

async function look() {
  let over = false;
  try {
    const answer = await fetch(run.dataset.now, { cache: "no-cache" });
    if (answer.ok) {
      const now = new DOMParser().parseFromString(await answer.text(), "text/html");
      over = tell(now.getElementById("overview"));
      now.querySelectorAll(".part").forEach(show);
    }
  } catch {
    // the next one may get through
  }
  if (!over) setTimeout(look, EVERY);
}

look();
