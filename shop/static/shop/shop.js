// The shop works without this file. With it, a form whose response is lost is retried, and an order's
// page follows the order's status. Nothing here prevents a duplicate: that is the server's task, and
// every click reaches it.
"use strict";

const TIMEOUT_MS = 15000;
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 4000];

const sleep = (ms) => new Promise((resume) => setTimeout(resume, ms));

// One click: the same form with the same key, until a response arrives. The page goes where the
// first response leads; the browser, not the server, then drops the clicks still in flight.
async function send(form, url) {
  const body = new FormData(form);
  const status = form.querySelector("[role=status]");
  const clicks = form.dataset.clicks = Number(form.dataset.clicks ?? 0) + 1;
  status.textContent = clicks === 1 ? form.dataset.sent : form.dataset.many.replaceAll("0", clicks);
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(url, {
        method: "POST", body, headers: {"X-Requested-With": "fetch"},
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.redirected && response.ok) return location.assign(response.url); // to sign in
      if (response.ok) return location.assign((await response.json()).location);
      if (response.status < 500 && response.status !== 429) {
        form.action = url; // the browser shows the error page
        return form.submit();
      }
    } catch {
      // No response: the server may or may not have executed it. The key marks the retry as one.
    }
    status.textContent = form.dataset.retrying;
    await sleep(RETRY_DELAYS_MS[Math.min(attempt, RETRY_DELAYS_MS.length - 1)]);
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
  while (place.querySelector("[data-followed]")) {
    await sleep(700);
    try {
      const response = await fetch(place.dataset.now, {signal: AbortSignal.timeout(TIMEOUT_MS)});
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("now");
      if (response.ok && fresh) renew(place, fresh);
      else if (response.status < 500) return;
    } catch {
      // Retried after the next delay.
    }
  }
}

// The sentence changes in place, so that a screen reader announces it. What is open stays open.
function renew(place, fresh) {
  const shown = place.querySelector("#now");
  const status = shown.querySelector("[role=status]");
  const renewed = fresh.querySelector("[role=status]");
  const changed = status.textContent !== renewed.textContent;
  if (changed) status.innerHTML = renewed.innerHTML;
  renewed.replaceWith(status);
  fresh.querySelector("#timeline").open = shown.querySelector("#timeline").open;
  shown.replaceWith(fresh);
}

for (const place of document.querySelectorAll("[data-now]")) follow(place);

// The same clicks without any mechanism: a run of the lab, drawn below on the same axis.
async function contrast(form) {
  const {clicks, contrast: text} = document.querySelector(".headline").dataset;
  form.elements.clicks.value = clicks;
  form.querySelector("[role=status]").textContent = form.dataset.running;
  const started = await fetch(form.action, {method: "POST", body: new FormData(form)});
  if (!started.ok) return form.submit(); // the lab says why
  for (;;) {
    await sleep(300);
    const progress = await load(`${started.url}now/`);
    if (!("over" in progress.getElementById("overview").dataset)) continue;
    const panel = progress.getElementById("naive");
    if (panel?.dataset.charges !== clicks) return location.assign(started.url);
    const place = document.querySelector("[data-now]");
    const ms = Math.max(panel.dataset.ms, place.querySelector(".bars").dataset.ms);
    place.dataset.now += `?ms=${ms}`;
    const [above, below] = await Promise.all(
      [place.dataset.now, `${started.url}now/?ms=${ms}`].map(load));
    renew(place, above.getElementById("now"));
    const headline = document.createElement("h2");
    headline.className = "headline lost";
    headline.textContent = text;
    return form.replaceWith(headline, below.querySelector("#naive svg.timeline"));
  }
}

async function load(url) {
  const response = await fetch(url, {signal: AbortSignal.timeout(TIMEOUT_MS)});
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

for (const form of document.querySelectorAll("[data-contrast]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    contrast(form).catch(() => form.submit());
  });
}
