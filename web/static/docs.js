// The four steps above Swagger's page (`ui`): signing in with a click, and new keys. A bare token in
// Authorize gets the word that the header wants.
"use strict";

const send = window.fetch.bind(window);
window.fetch = (url, options) => {
  const sent = options?.headers?.Authorization;
  if (sent && !sent.includes(" ")) options.headers.Authorization = `Token ${sent}`;
  return send(url, options);
};

const SCHEME = ["components", "securitySchemes", "apiToken"];

async function until(read) {
  for (;;) {
    const found = read();
    if (found) return found;
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

async function signIn(button) {
  const output = document.getElementById("signed-in");
  const {signIn: username, password} = button.dataset;
  const signed = await fetch("/api/v1/sign-in/", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({username, password}),
  });
  const {token, detail} = await signed.json();
  if (!signed.ok) {
    output.value = detail;
    return;
  }
  // As `ui.preauthorizeApiKey` does, which does not know OpenAPI 3.1.
  const schema = await until(() => ui.specSelectors.specJson().getIn(SCHEME));
  ui.authActions.authorize({apiToken: {name: "apiToken", schema, value: token}});
  const response = await fetch("/api/v1/accounts/", {headers: {Authorization: `Token ${token}`}});
  const accounts = response.ok ? (await response.json()).results : [];
  const named = accounts.map((account) => `${account.id} (${account.currency})`).join(", ");
  output.value = named ? `signed in; your accounts: ${named}` : "signed in";
}

for (const button of document.querySelectorAll("[data-sign-in]")) {
  button.addEventListener("click", () => signIn(button));
}

// The inputs are React's: it hears of a value by the native setter and an event, and at once by the
// end of the focus.
const setValue = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
document.querySelector("[data-new-keys]").addEventListener("click", () => {
  for (const input of document.querySelectorAll('[data-param-name="Idempotency-Key"] input')) {
    setValue.call(input, crypto.randomUUID());
    input.dispatchEvent(new Event("input", {bubbles: true}));
    input.dispatchEvent(new FocusEvent("focusout", {bubbles: true}));
  }
});
