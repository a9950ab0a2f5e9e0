// A user's way through the API with the official Node client; prints what came of it as JSON.
import OpenAI, { toFile } from "openai";

const { BASE_URL, API_KEY, MODEL, EXAMPLES } = process.env;
const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "hi" }];
const found = {};

const file = await client.files.create({
  file: await toFile(Buffer.from(EXAMPLES), "tickets.jsonl"),
  purpose: "fine-tune",
});
found.file = [file.object, file.status, file.filename];
found.listed = (await client.files.list()).data.some((item) => item.id === file.id);
found.content = (await (await client.files.content(file.id)).text()) === EXAMPLES;

const job = await client.fineTuning.jobs.create({ model: MODEL, training_file: file.id });
found.jobs = [];
for await (const item of client.fineTuning.jobs.list({ limit: 1 })) {
  found.jobs.push(item.id === job.id);
}
found.events = (await client.fineTuning.jobs.listEvents(job.id)).data.length > 0;
found.cancelled = (await client.fineTuning.jobs.cancel(job.id)).status;

const chat = await client.chat.completions.create({ model: MODEL, messages }).withResponse();
found.chat = chat.data.choices[0].message.content;
found.requestId = chat.request_id === chat.response.headers.get("x-request-id");

found.chunks = [];
const stream = await client.chat.completions.create({
  model: MODEL,
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  found.chunks.push(chunk.choices[0]?.delta.content ?? `${chunk.usage.total_tokens} tokens`);
}

found.response = (await client.responses.create({ model: MODEL, input: "hi" })).output_text;
const vectors = await client.embeddings.create({ model: MODEL, input: ["a", "b"], encoding_format: "float" });
found.embeddings = vectors.data.map((item) => item.embedding);

const attempts = {
  missing: () => client.models.retrieve("ft:pocket:nobody::x"),
  refused: () => client.fineTuning.jobs.create({ model: MODEL, training_file: "file-none" }),
  stranger: () => new OpenAI({ baseURL: BASE_URL, apiKey: "sk-no", maxRetries: 0 }).models.list(),
};
found.errors = {};
for (const [name, attempt] of Object.entries(attempts)) {
  try {
    await attempt();
  } catch (error) {
    found.errors[name] = [error.constructor.name, error.status, error.code, error.param];
  }
}
found.deleted = (await client.files.delete(file.id)).deleted;
console.log(JSON.stringify(found));
