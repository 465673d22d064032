#include "launch/eval_report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace mumoe::launch {
namespace {

EvalReport example() {
  EvalReport report{.run = "runs/x",
                    .checkpoint = "runs/x/checkpoints/step_00000012",
                    .step = 12,
                    .model = "GPT-2"};
  report.text = TextScore{
      .source = "speeches",
      .part = "all",
      .hash = "0123",
      .tokenizer = "gpt2",
      .context = 16,
      .windows = 2,
      .windows_of_all = 9,
      .score = {.tokens = 32, .bytes = 128, .loss = 4 * std::log(2.0)}};
  report.choices = ChoicesScore{.file = "q.jsonl",
                                .score = {.questions = 8,
                                          .right_by_mean = 3,
                                          .right_by_sum = 2,
                                          .loss = 1.5,
                                          .tokens = 70},
                                .cut = 1};
  return report;
}

TEST(EvalReport, SaysTheSameToPeopleAndPrograms) {
  const EvalReport report = example();
  const std::string table = report.table();
  for (const char* part : {"run         runs/x, step 12\n",
                           "windows     2 of 9, 16 tokens each\n",
                           "tokens      32, 128 bytes of text\n",
                           "loss        2.772589 nats/token\n",
                           "perplexity  16.0000\n",
                           "bits/byte   1.000000\n",
                           "accuracy    37.50 %, 3 of 8, by the mean",
                           "25.00 %, 2 of 8, by their sum\n",
                           "1 questions are longer"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << " in\n" << table;
  }
  EXPECT_FALSE(table.ends_with('\n'));
  const auto json = nlohmann::json::parse(report.json());
  EXPECT_EQ(json["checkpoint"], "step_00000012");
  EXPECT_EQ(json["step"], 12);
  EXPECT_EQ(json["text"]["loss"].get<double>(), report.text->score.loss)
      << "all digits";
  EXPECT_NEAR(json["text"]["bits_per_byte"].get<double>(), 1, 1e-15);
  EXPECT_EQ(json["choices"]["accuracy"], 0.375);
  EXPECT_EQ(json["choices"]["accuracy_by_sum"], 0.25);
}

TEST(EvalReport, OfManyClassesShowsTheWorst) {
  EvalReport report = example();
  ImagesScore images;
  images.source = "mnist";
  images.images_of_all = 240;
  images.score.images = 120;
  images.score.top1 = 66;
  images.score.top5 = 90;
  for (std::int64_t k = 0; k < 12; ++k) {
    images.score.classes.push_back({k == 3 ? 0 : 11, k == 3 ? 0 : k});
  }
  for (char name = 'a'; name < 'a' + 12; ++name) {
    images.class_names.push_back(fmt::format("class {}", name));
  }
  report.images = images;
  const std::string table = report.table();
  EXPECT_NE(table.find("top-1       55.00 %, 66 of 120\n"), table.npos)
      << table;
  EXPECT_NE(table.find("top-5       75.00 %"), table.npos) << table;
  EXPECT_NE(table.find("class       0.00 %, 0 of 11: class a\n"), table.npos)
      << table;
  EXPECT_EQ(table.find("class d"), table.npos) << "it has no image: " << table;
  EXPECT_EQ(table.find("class l"), table.npos) << "the best: " << table;
  const auto json = nlohmann::json::parse(report.json());
  EXPECT_EQ(json["images"]["top1"], 0.55);
  EXPECT_EQ(json["images"]["classes"].size(), 12u);
  EXPECT_EQ(json["images"]["classes"][11]["right"], 11);
  EXPECT_EQ(json["images"]["classes"][11]["name"], "class l");
}

TEST(EvalReport, LeavesOutWhatWasNotAskedFor) {
  EvalReport report = example();
  report.choices.reset();
  report.text->score.bytes = 0;  // ends of documents alone
  EXPECT_EQ(report.table().find("bits/byte"), std::string::npos);
  EXPECT_EQ(report.table().find("choices"), std::string::npos);
  const auto json = nlohmann::json::parse(report.json());
  EXPECT_TRUE(json["text"]["bits_per_byte"].is_null());
  EXPECT_FALSE(json.contains("choices"));
}

}  // namespace
}  // namespace mumoe::launch
