#include <gtest/gtest.h>

#include <numeric>

#include "base/file.h"
#include "data/text/sources.h"

namespace mumoe::data {
namespace {

// What the packages really hold. Fetches them at first use.

struct Expected {
  std::string_view name;
  std::size_t least_documents, most_documents;
  std::uint64_t least_bytes;
};

class NamedTexts : public ::testing::TestWithParam<Expected> {};

TEST_P(NamedTexts, AreAllThere) {
  const Expected& expected = GetParam();
  const Corpus corpus = named_corpus(expected.name);
  EXPECT_EQ(corpus.name, expected.name);
  const Survey survey = corpus.survey();
  EXPECT_GE(survey.sizes.size(), expected.least_documents);
  EXPECT_LE(survey.sizes.size(), expected.most_documents);
  const auto bytes = std::accumulate(survey.sizes.begin(),
                                     survey.sizes.end(),
                                     std::uint64_t{0});
  EXPECT_GE(bytes, expected.least_bytes);
  EXPECT_EQ(named_corpus(expected.name).fingerprint(), survey.fingerprint);
}

INSTANTIATE_TEST_SUITE_P(
    Small,
    NamedTexts,
    ::testing::Values(Expected{"novels", 6, 6, 4'000'000},
                      Expected{"scripture", 66, 66, 4'300'000},
                      Expected{"speeches", 249, 249, 12'000'000}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Large,
    NamedTexts,
    ::testing::Values(Expected{"essays", 130, 130, 11'000'000},
                      Expected{"dictionary", 126'000, 127'000, 39'000'000},
                      Expected{"kernel-docs", 3000, 9000, 20'000'000}),
    [](const auto& info) {
      return info.param.name == "kernel-docs" ? "kernel_docs"
                                              : std::string(info.param.name);
    });

TEST(NovelsAndScripture, ReadAsTheyShould) {
  const Corpus novels = named_corpus("novels");
  ASSERT_EQ(novels.documents.size(), 6u);
  EXPECT_EQ(novels.documents[4].name, "5_pride_and_prejudice.txt");
  EXPECT_NE(read_file(novels.documents[4].path)
                .find("It is a truth universally acknowledged"),
            std::string::npos);
  const Corpus books = named_corpus("scripture");
  ASSERT_EQ(books.documents.size(), 66u);
  EXPECT_TRUE(read_file(books.documents[0].path)
                  .starts_with("Ge1:1 In the beginning God created the heaven "
                               "and the earth.\nGe1:2 "));
  EXPECT_TRUE(read_file(books.documents[65].path)
                  .ends_with("Rev22:21 The grace of our Lord Jesus Christ be "
                             "with you all. Amen.\n"));
}

}  // namespace
}  // namespace mumoe::data
