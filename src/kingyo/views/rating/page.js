"use strict";

const KEYS = {
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "tie", ArrowDown: "skip", s: "skip", S: "skip",
};
const SPOKEN = { left: "Left chosen.", right: "Right chosen.", tie: "As good.", skip: "Skipped.", undo: "Undone." };
const STOPPED = "kingyo rate does not answer. All choices up to this pair are stored. "
  + "Start it again in the terminal, and open the address that it prints.";
const SMALL = 128;

const byId = (id) => document.getElementById(id);
let state = null;
let shownAt = 0;
let busy = true;

async function ask(place, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(place, options);
  } catch {
    throw new Error(STOPPED);
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function image(side, pair) {
  const image = document.querySelector(`#${side} img`);
  return new Promise((done, failed) => {
    image.onload = () => {
      image.classList.toggle("small", image.naturalWidth <= SMALL);
      done();
    };
    image.onerror = () => failed(new Error("A image cannot be read. Skip the pair with ↓."));
    image.src = `${pair.id}/${side}`;
  });
}

async function show(next) {
  state = next;
  document.title = `${state.judged}/${state.pairs} ${state.title}`;
  byId("title").textContent = `${state.title}, judged by ${state.rater}`;
  byId("progress").textContent = `${state.judged} of ${state.pairs}`;
  byId("bar").max = state.pairs;
  byId("bar").value = state.judged;
  byId("pair").hidden = state.pair === null;
  byId("done").hidden = state.pair !== null;
  byId("undo").setAttribute("aria-disabled", state.judged === 0);
  if (state.pair === null) return;
  byId("prompt").textContent = state.pair.prompt;
  await Promise.all([image("left", state.pair), image("right", state.pair)]);
  shownAt = performance.now();
}

async function act(name, place, body) {
  if (busy) return;
  busy = true;
  try {
    await show(await ask(place, body));
    byId("notice").hidden = true;
    byId("spoken").textContent = `${SPOKEN[name] ?? ""} ${state.pair === null ? "" : state.pair.prompt}`;
  } catch (error) {
    byId("notice").textContent = error.message;
    byId("notice").hidden = false;
  } finally {
    busy = false;
    document.querySelectorAll(".chosen").forEach((each) => each.classList.remove("chosen"));
  }
}

function choose(choice) {
  if (busy || state === null || state.pair === null) return;
  document.querySelector(`[data-choice=${choice}]`).classList.add("chosen");
  act(choice, "choice", { pair: state.pair.id, choice, seconds: (performance.now() - shownAt) / 1000 });
}

function undo() {
  if (state !== null && state.judged > 0) act("undo", "undo", {});
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const choice = KEYS[event.key];
  if (choice !== undefined) {
    event.preventDefault();
    choose(choice);
  } else if (event.key === "u" || event.key === "U") {
    undo();
  }
});
document.querySelectorAll("[data-choice]").forEach((button) => {
  button.addEventListener("click", () => choose(button.dataset.choice));
});
byId("undo").addEventListener("click", undo);

busy = false;
act("", "state");
