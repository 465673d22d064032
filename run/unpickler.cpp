#include "run/unpickler.h"

#include <algorithm>
#include <utility>

namespace mumoe::run {

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
      PickleValue* const value = pop();
      PickleValue* const key = pop();
      append_to_top({key, value});
      return true;
    }
    default:
      return step_of_calls(code);
  }
}

/// Calls, and values that are used again.
bool Unpickler::step_of_calls(std::uint8_t code) {
  switch (code) {
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
    default:
      return step_of_constants(code);
  }
}

bool Unpickler::step_of_constants(std::uint8_t code) {
  switch (code) {
    case 'X':  // BINUNICODE
      push({.kind = Kind::text,
            .text = std::string(bytes_.take(bytes_.number<std::uint32_t>()))});
      return true;
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

}  // namespace mumoe::run
