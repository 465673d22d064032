#pragma once

#include <memory>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace mumoe::data {

/// Cuts text into the words inside which GPT-2's encoding merges bytes
/// (Radford et al. 2019): contractions, letters, digits, other symbols, each
/// with at most one space before it, and runs of white space.
///
/// Text need not be valid UTF-8: a byte that belongs to no well-formed
/// character is a word of its own, and the text on either side of it is cut as
/// if it ended there. The words, joined, are always the text.
/// Safe to use from many threads.
class WordSplitter {
 public:
  WordSplitter();

  /// Views into `text`, in order, none empty.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

/// Bytes of the well-formed UTF-8 character at the front of `text` (1 to 4); 0
/// if there is none: overlong forms, surrogates, values above U+10FFFF, stray
/// or missing continuation bytes.
int utf8_length(std::string_view text);

}  // namespace mumoe::data
