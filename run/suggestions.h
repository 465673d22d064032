#pragma once

#include <string>
#include <vector>

namespace mumoe::run {

/// A name, and what else people call it: "topk switch".
struct Word {
  std::string name;
  std::string others = {};
};

/// Which of `known` are meant by `name`, which none of them has: those that are
/// called so in another section, elsewhere, or but for case and dashes; else
/// the one most like it. Empty where nothing is like it.
std::vector<std::string> meant_by(const std::string& name,
                                  const std::vector<Word>& known);

/// The same as a question, "did you mean A or B?", or nothing.
std::string did_you_mean(const std::string& name,
                         const std::vector<Word>& known);

/// Throws `InputError` for a name in `where` that nothing has: what is meant,
/// what there is instead of what other programs have, or where to look.
[[noreturn]] void refuse_unknown(const std::string& name,
                                 const std::string& where,
                                 const std::vector<Word>& known);

}  // namespace mumoe::run
