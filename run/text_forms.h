#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/number.h"
#include "run/option_table.h"

// Text forms of the rows of option_table.cpp.

namespace mumoe::run {

/// A member of `Options`, by name and by reference.
template <class Access>
struct Field {
  using Value = std::remove_reference_t<decltype(std::declval<Access>()(
      std::declval<Options&>()))>;

  const char* name;
  Access of;

  const Value& read(const Options& o) const {
    return of(const_cast<Options&>(o));
  }
};
#define MUMOE_FIELD(member)                                               \
  Field {                                                                 \
#member, [](Options & o) -> decltype((o.member)) { return o.member; } \
  }

/// yes or no, a number, numbers with commas between, or a text.
template <class Access>
TextForm plain(Field<Access> field) {
  using Value = typename Field<Access>::Value;
  TextForm form{.member = field.name};
  if constexpr (std::is_same_v<Value, bool>) {
    form.is_switch = true;
    form.set = [field](Options& o, const std::string& text) {
      const bool yes = text == "yes" || text == "true" || text == "1";
      require(yes || text == "no" || text == "false" || text == "0",
              "expected yes or no");
      field.of(o) = yes;
    };
    form.get = [field](const Options& o) {
      return field.read(o) ? "yes" : "no";
    };
  } else if constexpr (std::is_arithmetic_v<Value>) {
    form.set = [field](Options& o, const std::string& text) {
      field.of(o) = parse_number<Value>(text);
    };
    // The shortest text that reads back as the same number.
    form.get = [field](const Options& o) {
      return fmt::format("{}", field.read(o));
    };
  } else if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
    form.set = [field](Options& o, const std::string& text) {
      field.of(o) = parse_list(text);
    };
    form.get = [field](const Options& o) {
      return fmt::format("{}", fmt::join(field.read(o), ","));
    };
  } else {
    form.is_text = true;
    form.set = [field](Options& o, const std::string& text) {
      require(text.find('\0') == text.npos, "expected no zero byte");
      field.of(o) = text;
    };
    form.get = [field](const Options& o) { return std::string(field.read(o)); };
  }
  return form;
}

/// A whole number that may also be `auto`, stored as 0.
template <class Access>
TextForm automatic(Field<Access> field) {
  TextForm form = plain(field);
  form.set = [number = form.set](Options& o, const std::string& text) {
    try {
      number(o, text == "auto" ? "0" : text);
    } catch (const InputError& error) {
      fail<InputError>("{}, or auto", error.what());
    }
  };
  form.get = [number = form.get](const Options& o) {
    const std::string text = number(o);
    return text == "0" ? "auto" : text;
  };
  return form;
}

/// One of several words.
template <class Access>
TextForm choice(
    Field<Access> field,
    std::vector<std::pair<typename Field<Access>::Value, const char*>> words) {
  TextForm form{.member = field.name};
  form.set = [words, field](Options& o, const std::string& text) {
    std::string allowed;
    for (const auto& [value, word] : words) {
      if (text == word) {
        field.of(o) = value;
        return;
      }
      allowed += (allowed.empty() ? "" : ", ") + std::string(word);
    }
    fail<InputError>("expected one of: {}", allowed);
  };
  form.get = [words, field](const Options& o) -> std::string {
    const auto& value = field.read(o);
    return std::ranges::find(words,
                             value,
                             [](const auto& w) { return w.first; })
        ->second;
  };
  return form;
}

}  // namespace mumoe::run
