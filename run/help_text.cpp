#include "run/help_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "run/option_table.h"

namespace mumoe::run {
namespace {

constexpr std::size_t kFewestColumns = 40;
/// Where there is less room, meanings stand below their options.
constexpr std::size_t kTwoColumns = 72;
constexpr std::size_t kOptionColumn = 2, kCommandIndent = 6;

/// What a section is about; another one has its name alone.
constexpr std::pair<const char*, const char*> kSections[] = {
    {"model", "what is trained"},
    {"data", "what it is trained on"},
    {"parallel", "how ranks share the work"},
    {"optimizer", "AdamW"},
    {"schedule", "the learning rate over the steps"},
    {"train", "the run"},
    {"checkpoint", "what is saved when"},
    {"log", "what is reported"},
};

/// Parted at blanks, but not inside brackets.
std::vector<std::string> part(const std::string& text) {
  std::vector<std::string> words(1);
  int depth = 0;
  for (const char c : text) {
    depth += (c == '[') - (c == ']');
    if (c == ' ' && depth <= 0) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  std::erase(words, "");
  return words;
}

/// "deviation (0: none): entmax15, softmax [0]"
std::string meaning_of(const Key& key, const Options& defaults) {
  std::vector<std::string> words;
  for (const Word& word : key.text.words) {
    if (!key.text.is_switch) words.push_back(word.name);
  }
  const std::string value = key.text.get(defaults);
  return fmt::format("{}{}{} [{}]",
                     key.help,
                     words.empty() ? "" : ": ",
                     fmt::join(words, ", "),
                     value.empty() ? "empty" : value);
}

std::string heading_of(const std::string& section) {
  for (const auto& [name, about] : kSections) {
    if (section == name) return fmt::format("[{}] {}", name, about);
  }
  return fmt::format("[{}]", section);
}

}  // namespace

HelpText::HelpText(std::size_t columns)
    : columns_(std::max(columns, kFewestColumns)) {}

void HelpText::fill(const std::string& words,
                    std::size_t first,
                    std::size_t indent) {
  std::string line(first, ' ');
  bool empty = true;
  for (const std::string& word : part(words)) {
    if (!empty && line.size() + 1 + word.size() > columns_) {
      text_ += line + "\n";
      line.assign(indent, ' ');
      empty = true;
    }
    if (!empty) line += ' ';
    line += word;
    empty = false;
  }
  text_ += line + "\n";
}

void HelpText::part_from_above() {
  if (!text_.empty() && !text_.ends_with("\n\n")) text_ += "\n";
}

HelpText& HelpText::paragraph(const std::string& words) {
  part_from_above();
  fill(words, 0, 0);
  text_ += "\n";
  return *this;
}

HelpText& HelpText::heading(const std::string& words) {
  part_from_above();
  fill(words, 0, 0);
  return *this;
}

HelpText& HelpText::command(const std::string& words) {
  fill(words, kOptionColumn, kCommandIndent);
  return *this;
}

HelpText& HelpText::option(const std::string& name,
                           const std::string& meaning) {
  const std::size_t indent = columns_ < kTwoColumns ? 6 : 30;
  std::string line(kOptionColumn, ' ');
  line += name;
  if (line.size() + 2 <= indent) {
    line.resize(indent, ' ');
    text_ += line;
    const auto begin = text_.size();
    fill(meaning, indent, indent);
    text_.erase(begin, indent);
  } else {
    text_ += line + "\n";
    fill(meaning, indent, indent);
  }
  return *this;
}

HelpText& HelpText::options(const std::vector<OwnOption>& all) {
  for (const OwnOption& own : all) {
    option(fmt::format("--{}{}{}",
                       own.name,
                       own.value.empty() ? "" : " ",
                       own.value),
           own.help);
  }
  return *this;
}

HelpText& HelpText::keys(const std::string& section) {
  const Options defaults = Draft().unresolved();
  std::string last;
  for (const Word& name : key_words(section)) {
    const Key& key = *find_key(name.name);
    const auto its = key.name.substr(0, key.name.find('.'));
    if (its != last) heading(heading_of(its));
    last = its;
    option(fmt::format("--{} {}", key.name, key.text.value),
           meaning_of(key, defaults));
  }
  return *this;
}

}  // namespace mumoe::run
