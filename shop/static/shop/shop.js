// The shop works without this file. With it, a lost answer is asked for again by itself, and an
// order's page follows what becomes of the order. Nothing here keeps a form from being sent twice:
// that is the server's business, and every click reaches it.
"use strict";

const PATIENCE_MS = 15000;
const PAUSES_MS = [250, 500, 1000, 2000, 4000];

const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

// One click: the same form with the same key, until an answer comes. The page goes where the first
// answer leads; the clicks still under way are then dropped by the browser, not by the server.
async function send(form, to) {
  const body = new FormData(form);
  const said = form.querySelector("[role=status]");
  said.textContent = form.dataset.sent;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await fetch(to, {
        method: "POST", body, headers: {"X-Asked-By": "script"},
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (answer.redirected && answer.ok) return location.assign(answer.url); // to sign in again
      if (answer.ok) return location.assign((await answer.json()).location);
      if (answer.status < 500 && answer.status !== 429) {
        form.action = to; // the browser shows what the server has to say
        return form.submit();
      }
    } catch {
      // Nothing came back: the server may or may not have done it. The key says that it is a repeat.
    }
    said.textContent = form.dataset.again;
    await pause(PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)]);
  }
}

for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button?.matches("[data-once]")) return;
    event.preventDefault();
    send(form, button.hasAttribute("formaction") ? button.formAction : form.action);
  });
}

async function follow(place) {
  while (place.querySelector("[data-paying]")) {
    await pause(700);
    try {
      const answer = await fetch(place.dataset.now, {signal: AbortSignal.timeout(PATIENCE_MS)});
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("now");
      if (answer.ok && fresh) renew(place, fresh);
      else if (answer.status < 500) return;
    } catch {
      // Asked again after the next pause.
    }
  }
}

// The sentence is changed in place, so that a screen reader says it; so stays what is folded.
function renew(place, fresh) {
  const shown = place.querySelector("#now");
  const status = shown.querySelector("[role=status]");
  const open = shown.querySelector("details").open;
  status.innerHTML = fresh.querySelector("[role=status]").innerHTML;
  fresh.querySelector("[role=status]").replaceWith(status);
  fresh.querySelector("details").open = open;
  shown.replaceWith(fresh);
}

for (const place of document.querySelectorAll("[data-now]")) follow(place);
