"use strict";
// Shows a run while it is under way, by polling the page's changing part; a request that fails is
// retried. Panels that did not change stay, and with them the focus and what is open.
const POLL_MILLISECONDS = 300;
const run = document.getElementById("run");
const state = document.getElementById("state");

function replacePart(old, part) {
  for (const open of old.querySelectorAll("details[open]")) {
    part.querySelector(`#${open.id}`)?.setAttribute("open", "");
  }
  const focused = old.contains(document.activeElement) && document.activeElement.id;
  old.replaceWith(part);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function showPart(part) {
  const old = document.getElementById(part.id);
  if (!old && part.id === "lanes") {
    document.getElementById("overview").after(part);
    startPlayer(part);
  } else if (!old) run.append(part);
  else if (old.dataset.version !== part.dataset.version) replacePart(old, part);
}

function showState(overview) {
  const over = "over" in overview.dataset;
  if (state.textContent !== overview.dataset.state) state.textContent = overview.dataset.state;
  state.classList.toggle("busy", !over);
  state.classList.toggle("calm", over);
  return over;
}

async function poll() {
  let over = false;
  try {
    const response = await fetch(run.dataset.progress, { cache: "no-cache" });
    if (response.ok) {
      const progress = new DOMParser().parseFromString(await response.text(), "text/html");
      over = showState(progress.getElementById("overview"));
      progress.querySelectorAll(".part").forEach(showPart);
    }
  } catch {
    // the next request may get through
  }
  if (!over) setTimeout(poll, POLL_MILLISECONDS);
}

poll();
