#include "data/text/choices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

using nlohmann::json;

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// The text that `object` has under the first of `names` that it has.
std::string text_of(const json& object,
                    std::initializer_list<const char*> names,
                    const std::string& place) {
  for (const char* name : names) {
    const auto found = object.find(name);
    if (found == object.end()) continue;
    require(found->is_string(),
            "{}: {} is no text; expected one in quotes",
            place,
            name);
    return found->get<std::string>();
  }
  fail<InputError>(
      "{}: no {}; expected {{\"ctx\": TEXT, \"endings\": [TEXT, "
      "...], \"label\": N}}",
      place,
      fmt::join(names, " or "));
}

std::vector<std::string> endings_of(const json& object,
                                    const std::string& place) {
  const auto found = object.find("endings");
  const bool listed = found != object.end() && found->is_array();
  require(listed && found->size() >= 2,
          "{}: {} endings; expected a list of at least 2 texts",
          place,
          listed ? std::to_string(found->size()) : "no");
  std::vector<std::string> endings;
  for (const json& ending : *found) {
    require(ending.is_string() && !ending.get_ref<const std::string&>().empty(),
            "{}: endings[{}] is {}; expected a text",
            place,
            endings.size(),
            ending.is_string() ? "empty" : "no text");
    endings.push_back(ending.get<std::string>());
  }
  return endings;
}

std::size_t label_of(const json& object,
                     std::size_t endings,
                     const std::string& place) {
  const auto found = object.find("label");
  require(found != object.end(),
          "{}: no label; expected the number of the right ending, 0 to {}",
          place,
          endings - 1);
  std::optional<std::int64_t> label = as_count(*found);
  if (found->is_string()) {
    try {
      label =
          parse_number<std::int64_t>(found->get_ref<const std::string&>(), 0);
    } catch (const InputError&) {
      // It is named below.
    }
  }
  require(label && static_cast<std::size_t>(*label) < endings,
          "{}: label {}: expected the number of the right ending, 0 to {}",
          place,
          to_text(*found),
          endings - 1);
  return static_cast<std::size_t>(*label);
}

Question parse_question(std::string_view text,
                        const std::string& place,
                        std::int64_t line) {
  const json object = parse_json(text, place);
  require(object.is_object(), "{}: no JSON object; expected one a line", place);
  Question question{.context = text_of(object, {"ctx", "question"}, place),
                    .endings = endings_of(object, place),
                    .line = line};
  question.label = label_of(object, question.endings.size(), place);
  return question;
}

std::string place_of(const std::filesystem::path& file, std::int64_t line) {
  return fmt::format("{}:{}", printable(file.string()), line);
}

std::vector<std::int32_t> encode(const Tokenizer& tokenizer,
                                 const std::string& text,
                                 const std::string& place) {
  try {
    return tokenizer.encode(text);
  } catch (const InputError& error) {
    fail<InputError>("{}: {}", place, error.what());
  }
}

}  // namespace

std::vector<Question> read_questions(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  std::vector<Question> questions;
  std::int64_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto row = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (std::ranges::all_of(row, is_blank)) continue;
    questions.push_back(parse_question(row, place_of(file, line), line));
  }
  require(!questions.empty(),
          "{}: no question in {} lines; expected a JSON object a line",
          printable(file.string()),
          line);
  return questions;
}

ChoiceRows::ChoiceRows(const std::filesystem::path& file,
                       const Tokenizer& tokenizer,
                       std::int64_t context,
                       std::int64_t multiple)
    : context_(context), multiple_(multiple), questions_(read_questions(file)) {
  for (const Question& question : questions_) {
    const std::string place = place_of(file, question.line);
    const std::string& before = question.context;
    auto ids = encode(tokenizer, before, place);
    if (ids.empty()) ids.push_back(tokenizer.end_of_document());
    bool cut = false;
    for (const std::string& ending : question.endings) {
      const bool joined =
          before.empty() || is_blank(before.back()) || is_blank(ending.front());
      add(place, ids, encode(tokenizer, (joined ? "" : " ") + ending, place));
      const auto& row = rows_.back();
      cut |= row.tokens.size() <
             ids.size() + static_cast<std::size_t>(row.ending.count);
    }
    cut_ += cut;
  }
}

void ChoiceRows::add(const std::string& place,
                     const std::vector<std::int32_t>& context,
                     const std::vector<std::int32_t>& ending) {
  const auto count = static_cast<std::int64_t>(ending.size());
  require(count <= context_,
          "{}: an ending of {} tokens; expected at most the context of the "
          "model, {}",
          place,
          count,
          context_);
  // At least the last token of the context stays, from which the first of the
  // ending is told.
  const auto kept =
      std::min(static_cast<std::int64_t>(context.size()), context_ + 1 - count);
  Row row{{context.end() - kept, context.end()}, {kept - 1, count}};
  row.tokens.insert(row.tokens.end(), ending.begin(), ending.end());
  rows_.push_back(std::move(row));
}

std::int64_t ChoiceRows::padded(std::int64_t targets) const {
  return std::min(context_, (targets + multiple_ - 1) / multiple_ * multiple_);
}

std::int64_t ChoiceRows::targets_per_sample() const {
  std::int64_t most = 0;
  for (std::uint64_t row = 0; row < size(); ++row) {
    most = std::max(most, targets_of(row));
  }
  return most;
}

HostBatch ChoiceRows::make(std::span<const std::uint64_t> indices) const {
  std::int64_t length = 0;
  for (const auto row : indices) length = std::max(length, targets_of(row));
  length = padded(length);
  // What fills rows up is a token as good as any: nothing before it sees it.
  std::vector<std::int32_t> input(indices.size() * length, 0);
  std::vector<std::int32_t> target(input.size(), 0);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto& tokens = rows_[indices[i]].tokens;
    const auto place = static_cast<std::ptrdiff_t>(i) * length;
    std::copy(tokens.begin(), tokens.end() - 1, input.begin() + place);
    std::copy(tokens.begin() + 1, tokens.end(), target.begin() + place);
  }
  return {static_cast<std::int64_t>(indices.size()),
          std::move(input),
          std::move(target)};
}

std::vector<std::vector<std::uint64_t>> ChoiceRows::batches(
    std::int64_t tokens) const {
  std::vector<std::uint64_t> order(size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{}, [&](std::uint64_t row) {
    return targets_of(row);
  });
  std::vector<std::vector<std::uint64_t>> batches;
  std::int64_t length = 0;  // of the batch in the making
  for (const auto row : order) {
    const bool full =
        !batches.empty() &&
        static_cast<std::int64_t>(batches.back().size() + 1) * length > tokens;
    if (batches.empty() || full) {
      batches.emplace_back();
      length = padded(targets_of(row));
    }
    batches.back().push_back(row);
  }
  return batches;
}

}  // namespace mumoe::data
