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
    form.value = "yes|no";
    form.words = {{"yes", "True on y enable enabled"},
                  {"no", "False off n disable disabled none"}};
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
    form.value = std::is_integral_v<Value> ? "N" : "X";
    form.set = [field](Options& o, const std::string& text) {
      field.of(o) = parse_number<Value>(text);
    };
    // The shortest text that reads back as the same number.
    form.get = [field](const Options& o) {
      return fmt::format("{}", field.read(o));
    };
  } else if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
    form.value = "N[,N...]";
    form.set = [field](Options& o, const std::string& text) {
      field.of(o) = parse_list(text);
    };
    form.get = [field](const Options& o) {
      return fmt::format("{}", fmt::join(field.read(o), ","));
    };
  } else {
    form.is_text = true;
    form.value = "TEXT";
    form.set = [field](Options& o, const std::string& text) {
      require(text.find('\0') == text.npos, "expected no zero byte");
      field.of(o) = text;
    };
    form.get = [field](const Options& o) { return std::string(field.read(o)); };
  }
  return form;
}

/// A number that may also be `auto`, stored as `open`: 0, or a negative number
/// where 0 is a value of its own.
template <class Access>
TextForm automatic(Field<Access> field,
                   typename Field<Access>::Value open = 0) {
  TextForm form = plain(field);
  form.value += "|auto";
  form.has_auto = true;
  form.set = [field, open, number = form.set](Options& o,
                                              const std::string& text) {
    if (text == "auto") {
      field.of(o) = open;
      return;
    }
    try {
      number(o, text);
      require(open == 0 || field.read(o) >= 0, "expected at least 0");
    } catch (const InputError& error) {
      fail<InputError>("{}, or auto", error.what());
    }
  };
  form.get = [field, open, number = form.get](const Options& o) {
    return field.read(o) == open ? "auto" : number(o);
  };
  return form;
}

/// A value, the word for it, and what else people call that.
template <class Value>
struct Choice {
  Value value;
  const char* word;
  const char* others = "";
};

/// One of several words.
template <class Access>
TextForm choice(Field<Access> field,
                std::vector<Choice<typename Field<Access>::Value>> choices) {
  TextForm form{.member = field.name, .value = "WORD"};
  for (const auto& each : choices) {
    form.words.push_back({each.word, each.others});
    if (form.words.back().name == "auto") form.has_auto = true;
  }
  form.set = [choices, field](Options& o, const std::string& text) {
    std::string allowed;
    for (const auto& each : choices) {
      if (text == each.word) {
        field.of(o) = each.value;
        return;
      }
      allowed += (allowed.empty() ? "" : ", ") + std::string(each.word);
    }
    fail<InputError>("expected one of: {}", allowed);
  };
  form.get = [choices, field](const Options& o) -> std::string {
    const auto& value = field.read(o);
    return std::ranges::find(choices,
                             value,
                             [](const auto& each) { return each.value; })
        ->word;
  };
  return form;
}

/// dense, or the form of the mixtures.
TextForm mlp_form();
/// model.head: linear, high_rank or a form.
TextForm head_form();

/// The ranks of μMoE layers: as given until they are resolved. Of all MLPs but
/// those that mix tokens, and of these.
TextForm rank_form();
TextForm token_rank_form();

/// The run directory: one to be made, a folder, or none.
TextForm out_form();

/// A switch that may also say how much.
TextForm recompute_form();

/// A switch that may also be `auto`.
TextForm resume_form();

/// All families of models.
std::vector<Choice<std::string>> family_choices();

/// What else numbers of 32 and of 16 bits are called.
inline constexpr const char* kFp32 =
    "float32 float f32 single torch_float32 full 32";
inline constexpr const char* kBf16 =
    "bfloat16 bfloat bf16_mixed torch_bfloat16 fp16 float16 half 16";

}  // namespace mumoe::run
