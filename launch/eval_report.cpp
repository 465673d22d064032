#include "launch/eval_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <vector>

#include "base/json.h"

namespace mumoe::launch {
namespace {

double share(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

std::string table_of(const TextScore& text) {
  std::string table =
      fmt::format("text        {}, {}, as {}\n",
                  text.source,
                  text.part,
                  text.tokenizer) +
      fmt::format("windows     {} of {}, {} tokens each\n",
                  text.windows,
                  text.windows_of_all,
                  text.context) +
      fmt::format("tokens      {}, {} bytes of text\n",
                  text.score.tokens,
                  text.score.bytes) +
      fmt::format("loss        {:.6f} nats/token\n", text.score.loss) +
      fmt::format("perplexity  {:.4f}\n", text.perplexity());
  if (const auto bits = text.bits_per_byte()) {
    table += fmt::format("bits/byte   {:.6f}\n", *bits);
  }
  return table;
}

std::string table_of(const ChoicesScore& choices) {
  const train::ChoiceScore& score = choices.score;
  const auto accuracy = [&](std::int64_t right) {
    return fmt::format("{:.2f} %, {} of {}",
                       100 * share(right, score.questions),
                       right,
                       score.questions);
  };
  std::string table =
      fmt::format("choices     {}: {} questions, {} tokens of endings\n",
                  choices.file.string(),
                  score.questions,
                  score.tokens) +
      fmt::format("accuracy    {}, by the mean of an ending's tokens\n",
                  accuracy(score.right_by_mean)) +
      fmt::format("            {}, by their sum\n",
                  accuracy(score.right_by_sum)) +
      fmt::format("loss        {:.6f} nats/token of the right endings\n",
                  score.loss);
  if (choices.cut > 0) {
    table += fmt::format(
        "            {} questions are longer than the context: their front was "
        "left out\n",
        choices.cut);
  }
  return table;
}

/// Classes of which a table has a line; of more, those that are known worst.
constexpr std::size_t kClassLines = 10;

std::string table_of(const ImagesScore& images) {
  const train::ImageScore& score = images.score;
  std::string table =
      fmt::format("images      {}, {}: {} of {}\n",
                  images.source,
                  images.part,
                  score.images,
                  images.images_of_all) +
      fmt::format("loss        {:.6f} nats/image\n", score.loss) +
      fmt::format("top-1       {:.2f} %, {} of {}\n",
                  100 * share(score.top1, score.images),
                  score.top1,
                  score.images) +
      fmt::format("top-5       {:.2f} %, {} of {}\n",
                  100 * share(score.top5, score.images),
                  score.top5,
                  score.images);
  std::vector<std::size_t> order;
  for (std::size_t k = 0; k < score.classes.size(); ++k) {
    if (score.classes[k].images > 0) order.push_back(k);
  }
  if (order.size() > kClassLines) {
    std::ranges::stable_sort(order, {}, [&](std::size_t k) {
      return share(score.classes[k].right, score.classes[k].images);
    });
    order.resize(kClassLines);
  }
  for (const auto k : order) {
    const auto& found = score.classes[k];
    table += fmt::format("class       {:.2f} %, {} of {}: {}\n",
                         100 * share(found.right, found.images),
                         found.right,
                         found.images,
                         images.class_names.at(k));
  }
  return table;
}

nlohmann::json json_of(const ImagesScore& images) {
  const train::ImageScore& score = images.score;
  auto classes = nlohmann::json::array();
  for (std::size_t k = 0; k < score.classes.size(); ++k) {
    classes.push_back({{"name", images.class_names.at(k)},
                       {"images", score.classes[k].images},
                       {"right", score.classes[k].right}});
  }
  return {{"source", images.source},
          {"part", images.part},
          {"hash", images.hash},
          {"images", score.images},
          {"images_of_all", images.images_of_all},
          {"loss", score.loss},
          {"top1", share(score.top1, score.images)},
          {"top5", share(score.top5, score.images)},
          {"right", score.top1},
          {"right_of_five", score.top5},
          {"classes", classes}};
}

nlohmann::json json_of(const TextScore& text) {
  nlohmann::json json = {{"source", text.source},
                         {"part", text.part},
                         {"hash", text.hash},
                         {"tokenizer", text.tokenizer},
                         {"context", text.context},
                         {"windows", text.windows},
                         {"windows_of_all", text.windows_of_all},
                         {"tokens", text.score.tokens},
                         {"bytes", text.score.bytes},
                         {"loss", text.score.loss},
                         {"perplexity", text.perplexity()},
                         {"bits_per_byte", nullptr}};
  if (const auto bits = text.bits_per_byte()) json["bits_per_byte"] = *bits;
  return json;
}

nlohmann::json json_of(const ChoicesScore& choices) {
  const train::ChoiceScore& score = choices.score;
  return {{"file", choices.file.string()},
          {"questions", score.questions},
          {"tokens", score.tokens},
          {"right_by_mean", score.right_by_mean},
          {"right_by_sum", score.right_by_sum},
          {"accuracy", share(score.right_by_mean, score.questions)},
          {"accuracy_by_sum", share(score.right_by_sum, score.questions)},
          {"loss", score.loss},
          {"cut", choices.cut}};
}

}  // namespace

double TextScore::perplexity() const {
  return std::exp(score.loss);
}

std::optional<double> TextScore::bits_per_byte() const {
  if (score.bytes == 0) return std::nullopt;
  return score.loss * share(score.tokens, score.bytes) / std::numbers::ln2;
}

std::string EvalReport::table() const {
  std::string lines = fmt::format(
      "run         {}, step {}\n"
      "model       {}\n",
      run.string(),
      step,
      model);
  if (text) lines += table_of(*text);
  if (choices) lines += table_of(*choices);
  if (images) lines += table_of(*images);
  lines.pop_back();  // the last end of a line
  return lines;
}

std::string EvalReport::json() const {
  nlohmann::json json = {{"run", run.string()},
                         {"checkpoint", checkpoint.filename().string()},
                         {"step", step},
                         {"model", model}};
  if (text) json["text"] = json_of(*text);
  if (choices) json["choices"] = json_of(*choices);
  if (images) json["images"] = json_of(*images);
  return to_text(json, 2) + "\n";
}

}  // namespace mumoe::launch
