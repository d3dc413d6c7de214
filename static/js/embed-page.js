/** The bare bar, for an iframe. */

import { Connection } from "./connection.js";
import { byId, data } from "./dom.js";
import { nextFrame, slowly } from "./frame.js";
import { Milestones } from "./milestones.js";
import { announce, showConnection } from "./signs.js";
import { Tasks } from "./state.js";
import { TaskView } from "./taskview.js";

const view = data("view");
const id = view.task_id;
// A cookie of ours is none of a frame's in another site's page.
const token = new URLSearchParams(location.search).get("token") ?? "";
const connection = new Connection(data("page"), showConnection, { token });
const tasks = new Tasks();
const main = new TaskView(byId("task"));
const milestones = new Milestones(view.shown);

async function watch() {
  const ack = await connection.request("watch_task", { task_id: id });
  tasks.take(ack.task);
  changed();
}

function changed() {
  const task = tasks.get(id);
  if (task === undefined) return;
  const news = milestones.next(task, performance.now());
  if (news !== null) announce(news);
  nextFrame(main, () => main.show(task));
}

connection.on("progress_update", (update) => {
  if (update.task_id !== id) return;
  const outcome = tasks.update(update);
  if (outcome === "epoch") void watch().catch(() => {});
  else if (outcome === "taken") changed();
});
connection.watch(watch);
slowly(() => main.tick());
connection.open();
