#include "data/text/json_lines.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

using nlohmann::json;

/// Looks for one string of the object at the top; builds nothing else.
class FieldFinder : public nlohmann::json_sax<json> {
 public:
  explicit FieldFinder(const std::string& field) : field_(field) {}

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("a truth value"); }
  bool number_integer(number_integer_t) override { return other("a number"); }
  bool number_unsigned(number_unsigned_t) override { return other("a number"); }
  bool number_float(number_float_t, const string_t&) override {
    return other("a number");
  }
  bool binary(binary_t&) override { return other("binary"); }
  bool string(string_t& value) override {
    if (depth_ == 1 && here_) {
      text = std::move(value);
      found = "a string";
    } else {
      other("a string");
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == 0) object = true;
    other("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    other("an array");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    here_ = name == field_;
    if (!here_ && ++keys_ <= kNamed) {
      others += (others.empty() ? "" : ", ") + printable(name.substr(0, 40));
    } else if (keys_ == kNamed + 1 && !here_) {
      others += ", ...";
    }
    return true;
  }
  bool parse_error(std::size_t position,
                   const std::string&,
                   const json::exception& error) override {
    error_at = position;
    reason = error.what();
    return false;
  }

  std::string text, found, others, reason;
  std::size_t error_at = 0;
  bool object = false;

 private:
  static constexpr int kNamed = 5;

  bool other(const char* type) {
    if (depth_ == 1 && here_) found = type;
    return true;
  }

  const std::string& field_;
  int depth_ = 0;
  int keys_ = 0;
  bool here_ = false;
};

/// What the library says, without its name and its count of lines.
std::string short_reason(const std::string& text) {
  const auto column = text.find("column ");
  const auto colon = text.find(": ", column == std::string::npos ? 0 : column);
  const std::string rest =
      colon == std::string::npos ? text : text.substr(colon + 2);
  return printable(rest.substr(0, 160));
}

}  // namespace

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::string text_of_line(std::string_view line,
                         const std::string& field,
                         const std::string& where) {
  FieldFinder finder(field);
  const bool whole = json::sax_parse(line, &finder);
  require(whole,
          "{}, byte {}: {}; expected a JSON object a line",
          where,
          finder.error_at,
          short_reason(finder.reason));
  require(finder.object,
          "{}: is no JSON object; expected one a line, with a string {}",
          where,
          field);
  require(!finder.found.empty(),
          "{}: has no field {} ({}); expected a string of that name, or "
          "another name in data.field",
          where,
          field,
          finder.others.empty() ? "none at all" : "it has " + finder.others);
  require(finder.found == "a string",
          "{}: field {} is {}; expected a string",
          where,
          field,
          finder.found);
  const auto zero = finder.text.find('\0');
  require(zero == std::string::npos,
          "{}: zero character at byte {} of field {}; expected text without",
          where,
          zero,
          field);
  return std::move(finder.text);
}

void for_each_line(std::string_view bytes,
                   std::uint64_t first,
                   const std::function<void(std::uint64_t number,
                                            std::string_view line)>& each) {
  while (!bytes.empty()) {
    const auto end = std::min(bytes.find('\n'), bytes.size());
    each(first++, bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
}

}  // namespace mumoe::data
