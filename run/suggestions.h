#pragma once

#include <string>
#include <vector>

namespace mumoe::run {

/// A name, and what else people call it: "topk switch".
struct Word {
  std::string name;
  std::string others = {};
};

/// "did you mean A or B?": those of `known` that `name`, which none of them
/// has, is another word for, in another section, or but for case and dashes;
/// else the one most like it. Empty where nothing is like it.
std::string did_you_mean(const std::string& name,
                         const std::vector<Word>& known);

/// The same of a key; or what there is instead of what other programs have; or
/// where to look.
std::string answer_to(const std::string& name, const std::vector<Word>& known);

/// Throws `InputError` with that answer for a key in `where` that nothing has.
[[noreturn]] void refuse_unknown(const std::string& name,
                                 const std::string& where,
                                 const std::vector<Word>& known);

}  // namespace mumoe::run
