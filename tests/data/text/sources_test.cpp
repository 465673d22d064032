#include "data/text/sources.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "data/text/prepare.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

std::vector<std::pair<std::string, double>> parsed(const std::string& text) {
  std::vector<std::pair<std::string, double>> parts;
  for (const auto& [source, weight] : parse_sources(text)) {
    parts.emplace_back(source, weight);
  }
  return parts;
}
using Parts = std::vector<std::pair<std::string, double>>;

TEST(Sources, WeightsAreNormalised) {
  EXPECT_EQ(parsed("speeches"), (Parts{{"speeches", 1.0}}));
  EXPECT_EQ(parsed("speeches=3,novels=1"),
            (Parts{{"speeches", 0.75}, {"novels", 0.25}}));
  EXPECT_EQ(parsed("novels=2e-1"), (Parts{{"novels", 1.0}}));
  double sum = 0;
  for (const auto& [source, weight] : parsed("speeches=.7,novels=1,essays=9")) {
    sum += weight;
  }
  EXPECT_DOUBLE_EQ(sum, 1);
}

TEST(Sources, FoldersMayHaveAnyName) {
  const ScratchFolder folder;
  const std::string odd = (folder.path() / "a=b,c").string();
  std::filesystem::create_directories(odd);
  EXPECT_EQ(parsed(odd), (Parts{{odd, 1.0}}));
  const std::string plain = (folder.path() / "k=v").string();
  std::filesystem::create_directories(plain);
  EXPECT_EQ(parsed(plain + "=1,novels=1"),
            (Parts{{plain, 0.5}, {"novels", 0.5}}));
}

TEST(Sources, WhatIsWrongIsOneLine) {
  const ScratchFolder folder;
  const auto refuse = [](const std::string& text,
                         std::initializer_list<std::string> parts) {
    expect_input_error([&] { parse_sources(text); }, parts);
    expect_input_error([&] { parse_sources(text); }, {text, "expected"});
  };
  refuse("speeches,novels", {"speeches has no weight", "SOURCE=WEIGHT"});
  refuse("speeches=1,", {"an empty part"});
  refuse("=1", {"=1 has no weight"});
  refuse("speeches=0", {"speeches has weight 0", "above 0"});
  refuse("speeches=-1", {"weight -1"});
  refuse("speeches=", {"weight nothing"});
  refuse("speeches=nan", {"weight nan"});
  refuse("speeches=1e999", {"weight 1e999"});
  refuse("speeches=1,speeches=2", {"speeches is there twice"});
  refuse("speeches=1,novel=2", {"novel is no source (did you mean novels?)"});
  refuse("speeches=1,xyz=2", {"xyz is no source; expected speeches, novels"});
  const std::string path = folder.path().string();
  refuse(path + "=1," + path + "/=2", {"is there twice"});
}

TEST(Sources, EachIsPreparedIntoAFolderOfItsOwn) {
  const ScratchFolder folder;
  for (int i = 10; i < 30; ++i) {
    folder.write(fmt::format("a/{}.txt", i), fmt::format("first {}\n", i));
    folder.write(fmt::format("b/{}.txt", i), fmt::format("second, {}\n", i));
    folder.write(fmt::format("c/a/{}.txt", i), "third\n");
  }
  const std::string a = (folder.path() / "a").string();
  const std::string b = (folder.path() / "b").string();
  const ByteTokenizer tokenizer;
  PrepareOptions options;
  options.out_folder = folder.path() / "out";
  const auto both = prepare_sources(a + "=1," + b + "/=3", tokenizer, options);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_DOUBLE_EQ(both[0].weight, 0.25);
  EXPECT_DOUBLE_EQ(both[1].weight, 0.75);
  EXPECT_EQ(both[0].data.folder, folder.path() / "out/a");
  EXPECT_EQ(both[1].data.folder, folder.path() / "out/b");
  EXPECT_EQ(both[1].data.train.documents, 18u);
  expect_input_error(
      [&] {
        prepare_sources(a + "=1," + folder.path().string() + "/c/a=1",
                        tokenizer,
                        options);
      },
      {"out: two sources are called a"});
  // One goes to the folder itself.
  options.out_folder = folder.path() / "one";
  EXPECT_EQ(prepare_sources(a, tokenizer, options)[0].data.folder,
            folder.path() / "one");
}

TEST(Sources, NamesAreSuggestedWhereTheyAreNear) {
  EXPECT_EQ(nearest_source("speech"), " (did you mean speeches?)");
  EXPECT_EQ(nearest_source("kernel_docs"), " (did you mean kernel-docs?)");
  EXPECT_EQ(nearest_source("/my/texts"), "");
  EXPECT_EQ(nearest_source(""), "");
  EXPECT_TRUE(is_named_source("scripture"));
  EXPECT_FALSE(is_named_source("Scripture"));
}

}  // namespace
}  // namespace mumoe::data
