#include "run/config_file.h"

#include <fmt/format.h>
#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::run {
namespace {

constexpr std::string_view kBlanks = " \t\r";

bool is_blank(char c) {
  return kBlanks.find(c) != kBlanks.npos;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == '-';
  });
}

/// What stands behind a backslash in quotes, and what it means.
constexpr std::pair<char, char> kEscapes[] = {{'"', '"'},
                                              {'\\', '\\'},
                                              {'n', '\n'},
                                              {'t', '\t'},
                                              {'r', '\r'}};

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// Reads one configuration, line by line.
class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  void read_line(std::string_view whole) {
    ++line_;
    constexpr std::size_t kLongest = 65536;
    check(whole.size() <= kLongest,
          "a line of {} bytes; expected at most {}",
          whole.size(),
          kLongest);
    check(whole.find('\0') == whole.npos,
          "a zero byte; expected a text file in ASCII or UTF-8");
    const std::string_view line = trim(whole);
    if (line.empty() || line.front() == '#') return;
    if (line.front() == '[') {
      read_section(line);
    } else {
      read_entry(line);
    }
  }

  std::vector<ConfigEntry> entries() && { return std::move(entries_); }

 private:
  template <class... Args>
  void check(bool condition,
             fmt::format_string<Args...> text,
             Args&&... arguments) const {
    require(condition,
            "{}:{}: {}",
            file_,
            line_,
            format_message(text, fmt::make_format_args(arguments...)));
  }

  void read_section(std::string_view line) {
    const auto end = line.find(']');
    const auto name = trim(line.substr(1, end - 1));
    check(end != line.npos && is_name(name), "{}: expected [section]", line);
    check_rest(line.substr(end + 1), line);
    section_ = name;
  }

  void read_entry(std::string_view line) {
    const auto equals = line.find('=');
    const auto key = trim(line.substr(0, equals));
    check(equals != line.npos && is_name(key),
          "{}: expected [section], key = value or # comment",
          line);
    ConfigEntry entry;
    entry.name = section_.empty() ? key : fmt::format("{}.{}", section_, key);
    entry.line = line_;
    const auto [before, added] = lines_.emplace(entry.name, line_);
    check(added,
          "{} stands in line {} already; expected it once",
          entry.name,
          before->second);
    const auto value = trim(line.substr(equals + 1));
    if (value.starts_with('"')) {
      entry.value = read_quoted(value);
    } else {
      read_plain(value, entry);
    }
    entries_.push_back(std::move(entry));
  }

  void read_plain(std::string_view text, ConfigEntry& entry) const {
    std::size_t end = text.find('#');
    while (end != text.npos && end > 0 && !is_blank(text[end - 1])) {
      end = text.find('#', end + 1);
    }
    if (end != text.npos && end + 1 < text.size() && text[end + 1] != '#' &&
        !is_blank(text[end + 1])) {
      entry.doubtful = text.substr(end);
    }
    const auto value = trim(text.substr(0, end));
    check(std::ranges::none_of(value, is_control),
          "{} = {}: a control character; expected it in quotes, as {}",
          entry.name,
          value,
          to_config_value(value));
    check(value.size() < 2 || value.front() != '\'' || value.back() != '\'',
          "{} = {}: expected no quotes or double ones (if these belong to the "
          "value: \"{}\")",
          entry.name,
          value,
          value);
    entry.value = value;
  }

  /// `text` begins with a quote.
  std::string read_quoted(std::string_view text) const {
    std::string value;
    std::size_t at = 1;
    while (at < text.size() && text[at] != '"') {
      check(
          !is_control(text[at]),
          "{}: a control character in quotes; expected an escape (\\r, \\x1b)",
          text);
      if (text[at] == '\\') {
        value += read_escape(text, at);
      } else {
        value += text[at++];
      }
    }
    check(at < text.size(), "{}: a quote that is not closed", text);
    check_rest(text.substr(at + 1), text);
    return value;
  }

  /// The character meant by the escape at `at`, which moves behind it.
  char read_escape(std::string_view text, std::size_t& at) const {
    const char kind = at + 1 < text.size() ? text[at + 1] : '\0';
    for (const auto& [written, meant] : kEscapes) {
      if (kind != written) continue;
      at += 2;
      return meant;
    }
    if (kind == 'x' && at + 3 < text.size()) {
      const auto high = hex_digit(text[at + 2]), low = hex_digit(text[at + 3]);
      if (high && low && *high + *low > 0) {
        at += 4;
        return static_cast<char>(*high * 16 + *low);
      }
    }
    fail<InputError>(
        "{}:{}: {}: expected one of \\\\ \\\" \\n \\t \\r \\xHH (not \\x00) "
        "after a backslash in quotes",
        file_,
        line_,
        text);
  }

  /// Behind what is closed stands nothing or a comment.
  void check_rest(std::string_view rest, std::string_view line) const {
    rest = trim(rest);
    check(rest.empty() || rest.front() == '#',
          "{}: expected nothing but a # comment before {}",
          line,
          rest);
  }

  const std::string& file_;
  int line_ = 0;
  std::string section_;
  std::map<std::string, int> lines_;  ///< Of keys.
  std::vector<ConfigEntry> entries_;
};

}  // namespace

std::vector<ConfigEntry> parse_config(std::string_view text,
                                      const std::string& file) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  Reader reader(file);
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    reader.read_line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::move(reader).entries();
}

std::vector<ConfigEntry> read_config_file(const std::filesystem::path& file) {
  constexpr std::uintmax_t kLargest = 1 << 20;
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  require(error || size <= kLargest,
          "{}: {} bytes; expected a configuration, which has at most {}",
          file.string(),
          size,
          kLargest);
  return parse_config(read_file(file), file.string());
}

std::string to_config_value(std::string_view value) {
  const bool plain = trim(value) == value && !value.starts_with('"') &&
                     !value.starts_with('\'') &&
                     value.find('#') == value.npos &&
                     std::ranges::none_of(value, is_control);
  if (plain) return std::string(value);
  constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : value) {
    const auto* escape =
        std::ranges::find(kEscapes, c, [](const auto& e) { return e.second; });
    if (escape != std::end(kEscapes)) {
      quoted += {'\\', escape->first};
    } else if (is_control(c)) {
      quoted += {'\\', 'x', kHex[(c >> 4) & 15], kHex[c & 15]};
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace mumoe::run
