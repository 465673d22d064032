#include "launch/same_run.h"

#include <cstddef>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "dist/gather_text.h"
#include "dist/host.h"

namespace mumoe::launch {
namespace {

constexpr char kEnd = '\0';  // of a word; values may hold all else

std::string to_words(const std::string& host, const Facts& facts) {
  std::string words = host + kEnd;
  for (const auto& [name, value] : facts) {
    words += name + kEnd + value + kEnd;
  }
  return words;
}

// A host, then its facts.
struct RankFacts {
  std::string host;
  Facts facts;
};

RankFacts parse(const std::string& text) {
  std::istringstream words(text);
  RankFacts parsed;
  std::getline(words, parsed.host, kEnd);
  for (std::string name; std::getline(words, name, kEnd);) {
    std::getline(words, parsed.facts[name], kEnd);
  }
  return parsed;
}

std::string value_of(const Facts& facts, const std::string& name) {
  const auto found = facts.find(name);
  return found == facts.end() ? "none" : found->second;
}

// The first name of either whose values differ.
std::string first_difference(const Facts& a, const Facts& b) {
  Facts names = a;
  names.insert(b.begin(), b.end());
  for (const auto& [name, value] : names) {
    if (value_of(a, name) != value_of(b, name)) return name;
  }
  return {};
}

}  // namespace

void require_same_run(dist::Communicator& world, const Facts& facts) {
  const auto texts =
      dist::gather_text(world, to_words(dist::this_host().name, facts));
  const RankFacts first = parse(texts.front());
  for (std::size_t rank = 1; rank < texts.size(); ++rank) {
    const RankFacts other = parse(texts[rank]);
    const std::string name = first_difference(first.facts, other.facts);
    require(name.empty(),
            "{} = {} on rank {} (host {}), {} on rank 0 (host {}): expected "
            "the same on all; have the hosts the same files?",
            name,
            value_of(other.facts, name),
            rank,
            other.host,
            value_of(first.facts, name),
            first.host);
  }
}

}  // namespace mumoe::launch
