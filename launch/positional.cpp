#include "launch/positional.h"

namespace mumoe::launch {

std::vector<std::string> with_positional(const std::vector<std::string>& words,
                                         const std::string& name) {
  std::vector<std::string> all;
  bool value = false;  // of the option before it
  for (const std::string& word : words) {
    const bool option = !value && word.starts_with("-");
    if (!value && !option) all.push_back("--" + name);
    value = option && word.find('=') == word.npos;
    all.push_back(word);
  }
  return all;
}

}  // namespace mumoe::launch
