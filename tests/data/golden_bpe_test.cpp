#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "data/fetch.h"
#include "data/text/bpe.h"
#include "tests/support/source_folder.h"

namespace mumoe::data {
namespace {

/// `MUMOE_GOLDEN_DIR` names another set of reference files.
std::filesystem::path golden_folder() {
  const char* other = std::getenv("MUMOE_GOLDEN_DIR");
  if (other != nullptr && *other != '\0') return other;
  return std::filesystem::path(testing::source_folder()) / "tests" / "golden";
}

TEST(GoldenBpe, IdsEqualTheReference) {
  const BpeTokenizer tokenizer(fetch_bpe_folder());
  const auto cases =
      nlohmann::json::parse(read_file(golden_folder() / "bpe.json"));
  ASSERT_FALSE(cases.empty());
  for (const auto& item : cases) {
    const std::string text = item.at("text");
    const std::vector<std::int32_t> ids = item.at("ids");
    EXPECT_EQ(tokenizer.encode(text), ids) << item.at("text");
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
}

}  // namespace
}  // namespace mumoe::data
