#include "run/torch_file.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::run {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 40;

struct Value;
using ValuePtr = std::shared_ptr<Value>;

/// What a pickle of tensors is made of.
struct Value {
  enum class Kind { other, number, text, items, dict, global, storage, tensor };
  Kind kind = Kind::other;
  std::int64_t number = 0;  ///< Of a storage: its elements.
  std::string text = {};    ///< Of a global: "module name"; a storage's key.
  /// Of a tuple or list; of a dict keys and values by turns; of a tensor its
  /// storage, offset, sizes and strides; of a storage its global.
  std::vector<ValuePtr> items = {};
};

ValuePtr value_of(Value value) {
  return std::make_shared<Value>(std::move(value));
}

/// The bytes of the file, read front to back.
class Bytes {
 public:
  explicit Bytes(const std::filesystem::path& path)
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
  explicit Unpickler(Bytes& bytes) : bytes_(bytes) {}

  ValuePtr run() {
    while (step(bytes_.number<std::uint8_t>())) {
    }
    return pop();
  }

 private:
  using Kind = Value::Kind;

  void push(Value value) { stack_.push_back(value_of(std::move(value))); }
  void push_number(std::int64_t number) {
    push({.kind = Kind::number, .number = number});
  }
  ValuePtr pop() {
    if (stack_.empty()) bytes_.refuse("nothing is on the stack");
    const ValuePtr top = stack_.back();
    stack_.pop_back();
    return top;
  }
  /// The `count` topmost values as one.
  void push_tuple(std::size_t count) {
    Value tuple{.kind = Kind::items};
    for (std::size_t i = 0; i < count; ++i) {
      tuple.items.insert(tuple.items.begin(), pop());
    }
    push(std::move(tuple));
  }
  /// Those since the last mark.
  std::vector<ValuePtr> marked() {
    if (marks_.empty() || marks_.back() > stack_.size()) {
      bytes_.refuse("no mark");
    }
    const auto first =
        stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<ValuePtr> values(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return values;
  }
  void append_to_top(const std::vector<ValuePtr>& values) {
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
    const ValuePtr arguments = pop(), called = pop();
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
    const ValuePtr id = pop();
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
  bool step_of_numbers(std::uint8_t code);

  Bytes& bytes_;
  std::vector<ValuePtr> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint32_t, ValuePtr> memo_;
};

// The codes are those of Python's pickletools, protocol 2.
bool Unpickler::step(std::uint8_t code) {
  switch (code) {
    case 0x80:  // PROTO
      bytes_.take(1);
      return true;
    case '.':  // STOP
      return false;
    case '(':  // MARK
      marks_.push_back(stack_.size());
      return true;
    case ')':  // EMPTY_TUPLE
    case ']':  // EMPTY_LIST
      push({.kind = Kind::items});
      return true;
    case '}':  // EMPTY_DICT
      push({.kind = Kind::dict});
      return true;
    case 't':  // TUPLE
      push({.kind = Kind::items, .items = marked()});
      return true;
    case 0x85:  // TUPLE1, TUPLE2, TUPLE3
    case 0x86:
    case 0x87:
      push_tuple(code - 0x84);
      return true;
    case 'e':  // APPENDS
    case 'u':  // SETITEMS
      append_to_top(marked());
      return true;
    case 'a':  // APPEND
      append_to_top({pop()});
      return true;
    case 's': {  // SETITEM
      const ValuePtr value = pop(), key = pop();
      append_to_top({key, value});
      return true;
    }
    case 'c': {  // GLOBAL
      const std::string module = bytes_.line();
      push({.kind = Kind::global, .text = module + " " + bytes_.line()});
      return true;
    }
    case 'R':  // REDUCE
      reduce();
      return true;
    case 'b':  // BUILD: attributes, which tensors do without
      pop();
      return true;
    case 'Q':  // BINPERSID
      persistent();
      return true;
    case 'q':  // BINPUT
      remember(bytes_.number<std::uint8_t>());
      return true;
    case 'r':  // LONG_BINPUT
      remember(bytes_.number<std::uint32_t>());
      return true;
    case 'h':  // BINGET
      recall(bytes_.number<std::uint8_t>());
      return true;
    case 'j':  // LONG_BINGET
      recall(bytes_.number<std::uint32_t>());
      return true;
    case 'X':  // BINUNICODE
      push({.kind = Kind::text,
            .text = std::string(bytes_.take(bytes_.number<std::uint32_t>()))});
      return true;
    default:
      return step_of_numbers(code);
  }
}

bool Unpickler::step_of_numbers(std::uint8_t code) {
  switch (code) {
    case 'N':  // NONE
      push({});
      return true;
    case 0x88:  // NEWTRUE, NEWFALSE
    case 0x89:
      push_number(code == 0x88);
      return true;
    case 'K':  // BININT1
      push_number(bytes_.number<std::uint8_t>());
      return true;
    case 'M':  // BININT2
      push_number(bytes_.number<std::uint16_t>());
      return true;
    case 'J':  // BININT
      push_number(bytes_.number<std::int32_t>());
      return true;
    case 0x8a: {  // LONG1: little-endian, of any length
      const std::string_view digits =
          bytes_.take(bytes_.number<std::uint8_t>());
      std::int64_t value = 0;
      std::memcpy(&value, digits.data(), std::min(digits.size(), sizeof value));
      push_number(value);
      return true;
    }
    default:
      bytes_.refuse("code " + std::to_string(code));
  }
}

/// What storages of this class hold.
at::ScalarType dtype_of(const std::string& global, const Bytes& bytes) {
  const std::pair<const char*, at::ScalarType> known[] = {
      {"torch FloatStorage", at::kFloat},
      {"torch DoubleStorage", at::kDouble},
      {"torch HalfStorage", at::kHalf},
      {"torch BFloat16Storage", at::kBFloat16},
      {"torch LongStorage", at::kLong},
      {"torch IntStorage", at::kInt}};
  for (const auto& [name, dtype] : known) {
    if (global == name) return dtype;
  }
  bytes.refuse("a storage of class " + global);
}

/// Its numbers, or the strides of a tensor.
std::vector<std::int64_t> numbers_of(const ValuePtr& value) {
  std::vector<std::int64_t> numbers;
  for (const ValuePtr& item : value->items) numbers.push_back(item->number);
  return numbers;
}

/// Storages by key, as they follow the pickles.
std::map<std::string, at::Tensor> read_storages(
    Bytes& bytes,
    const std::map<std::string, ValuePtr>& wanted) {
  std::map<std::string, at::Tensor> storages;
  const ValuePtr keys = Unpickler(bytes).run();
  for (const ValuePtr& key : keys->items) {
    const auto found = wanted.find(key->text);
    if (found == wanted.end()) bytes.refuse("a storage of no tensor");
    const auto count = bytes.number<std::int64_t>();
    if (count != found->second->number || count < 0 || count > kMostElements) {
      bytes.refuse("a storage of another size");
    }
    const auto dtype = dtype_of(found->second->items[0]->text, bytes);
    const auto held =
        bytes.take(static_cast<std::uint64_t>(count) * c10::elementSize(dtype));
    at::Tensor storage = at::empty({count}, dtype);
    std::memcpy(storage.data_ptr(), held.data(), held.size());
    storages[key->text] = storage;
  }
  return storages;
}

}  // namespace

NamedTensors read_torch_file(const std::filesystem::path& path) {
  Bytes bytes(path);
  Unpickler(bytes).run();  // a magic number
  Unpickler(bytes).run();  // the protocol's version
  Unpickler(bytes).run();  // sizes of numbers where it was written
  const ValuePtr dict = Unpickler(bytes).run();
  if (dict->kind != Value::Kind::dict || dict->items.size() % 2 != 0) {
    bytes.refuse("no dict");
  }
  std::map<std::string, ValuePtr> tensors, wanted;
  for (std::size_t i = 0; i < dict->items.size(); i += 2) {
    const ValuePtr& tensor = dict->items[i + 1];
    if (tensor->kind != Value::Kind::tensor) continue;
    tensors[dict->items[i]->text] = tensor;
    wanted[tensor->items[0]->text] = tensor->items[0];
  }
  const auto storages = read_storages(bytes, wanted);
  NamedTensors named;
  for (const auto& [name, tensor] : tensors) {
    const auto storage = storages.find(tensor->items[0]->text);
    const auto sizes = numbers_of(tensor->items[2]);
    const auto strides = numbers_of(tensor->items[3]);
    const std::int64_t offset = tensor->items[1]->number;
    std::int64_t last = offset;
    bool whole = storage != storages.end() && offset >= 0 &&
                 sizes.size() == strides.size();
    for (std::size_t d = 0; whole && d < sizes.size(); ++d) {
      whole = sizes[d] > 0 && strides[d] >= 0 &&
              (strides[d] == 0 ||
               sizes[d] - 1 <= storage->second.numel() / strides[d]);
      last += (sizes[d] - 1) * strides[d];
    }
    if (!whole || last >= storage->second.numel()) {
      bytes.refuse(name + " is beyond its storage");
    }
    named.tensors[name] =
        storage->second.as_strided(sizes, strides, offset).clone();
  }
  return named;
}

}  // namespace mumoe::run
