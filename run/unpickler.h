#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::run {

/// What a pickle of tensors is made of. Values point at each other and lie in
/// one `PickleValues`.
struct PickleValue {
  enum class Kind { other, number, text, items, dict, global, storage, tensor };
  Kind kind = Kind::other;
  std::int64_t number = 0;  ///< Of a storage: its elements.
  std::string text = {};    ///< Of a global: "module name"; a storage's key.
  /// Of a tuple or list; of a dict keys and values by turns; of a tensor its
  /// storage, offset, sizes and strides; of a storage its global.
  std::vector<PickleValue*> items = {};
};
using PickleValues = std::deque<PickleValue>;

/// The bytes of the file, read front to back.
class PickleBytes {
 public:
  explicit PickleBytes(const std::filesystem::path& path)
      : name_(path.string()), bytes_(read_file(path)) {}

  template <class Number>
  Number number() {
    Number value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) refuse("it ends there");
    const std::string_view found(bytes_.data() + at_, count);
    at_ += count;
    return found;
  }
  std::string line() {
    const auto end = bytes_.find('\n', at_);
    if (end == bytes_.npos) refuse("it ends there");
    std::string text(take(end - at_));
    take(1);
    return text;
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail<InputError>(
        "{}: byte {}: {}; expected a dict of tensors as torch.save wrote it "
        "until PyTorch 1.6",
        name_,
        at_,
        what);
  }

 private:
  std::string name_;
  std::string bytes_;
  std::size_t at_ = 0;
};

/// The machine that a pickle is the program of, as far as dicts of tensors need
/// it.
class Unpickler {
 public:
  Unpickler(PickleBytes& bytes, PickleValues& values)
      : bytes_(bytes), values_(values) {}

  PickleValue* run() {
    while (step(bytes_.number<std::uint8_t>())) {
    }
    return pop();
  }

 private:
  using Kind = PickleValue::Kind;

  void push(PickleValue value) {
    values_.push_back(std::move(value));
    stack_.push_back(&values_.back());
  }
  void push_number(std::int64_t number) {
    push({.kind = Kind::number, .number = number});
  }
  PickleValue* pop() {
    if (stack_.empty()) bytes_.refuse("nothing is on the stack");
    PickleValue* const top = stack_.back();
    stack_.pop_back();
    return top;
  }
  /// The `count` topmost values as one.
  void push_tuple(std::size_t count) {
    PickleValue tuple{.kind = Kind::items};
    for (std::size_t i = 0; i < count; ++i) {
      tuple.items.insert(tuple.items.begin(), pop());
    }
    push(std::move(tuple));
  }
  /// Those since the last mark.
  std::vector<PickleValue*> marked() {
    if (marks_.empty() || marks_.back() > stack_.size()) {
      bytes_.refuse("no mark");
    }
    const auto first =
        stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleValue*> values(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return values;
  }
  void append_to_top(const std::vector<PickleValue*>& values) {
    if (stack_.empty()) bytes_.refuse("nothing to add to");
    auto& items = stack_.back()->items;
    items.insert(items.end(), values.begin(), values.end());
  }
  void remember(std::uint32_t place) {
    if (stack_.empty()) bytes_.refuse("nothing to remember");
    memo_[place] = stack_.back();
  }
  void recall(std::uint32_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) bytes_.refuse("nothing was remembered");
    stack_.push_back(found->second);
  }

  /// A call: of the two functions that tensors in dicts need.
  void reduce() {
    PickleValue* const arguments = pop();
    PickleValue* const called = pop();
    const std::string& name = called->text;
    if (called->kind == Kind::global && name == "collections OrderedDict") {
      push({.kind = Kind::dict});
      return;
    }
    if (called->kind != Kind::global ||
        name != "torch._utils _rebuild_tensor_v2" ||
        arguments->items.size() < 4 ||
        arguments->items[0]->kind != Kind::storage) {
      bytes_.refuse("a call of " + (name.empty() ? "something" : name));
    }
    push({.kind = Kind::tensor, .items = arguments->items});
  }
  /// ("storage", its class, its key, where it was, elements, ...)
  void persistent() {
    PickleValue* const id = pop();
    if (id->items.size() < 5 || id->items[1]->kind != Kind::global ||
        id->items[4]->kind != Kind::number) {
      bytes_.refuse("a persistent id that is no storage's");
    }
    push({.kind = Kind::storage,
          .number = id->items[4]->number,
          .text = id->items[2]->text,
          .items = {id->items[1]}});
  }

  bool step(std::uint8_t code);
  bool step_of_calls(std::uint8_t code);
  bool step_of_constants(std::uint8_t code);

  PickleBytes& bytes_;
  PickleValues& values_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint32_t, PickleValue*> memo_;
};

}  // namespace mumoe::run
