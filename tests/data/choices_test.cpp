#include "data/text/choices.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

using Ids = std::vector<std::int32_t>;

const char* const kTwo =
    R"({"ctx": "A man", "endings": ["runs", "sits down"], "label": 1})"
    "\n\n"
    R"({"ind": 7, "question": "", "endings": ["x", "y", "z"], "label": "0"})"
    "\r\n";

TEST(Questions, OfBothFormsAreRead) {
  const ScratchFolder folder;
  const auto questions = read_questions(folder.write("q.jsonl", kTwo));
  ASSERT_EQ(questions.size(), 2u);
  EXPECT_EQ(questions[0].context, "A man");
  EXPECT_EQ(questions[0].endings,
            (std::vector<std::string>{"runs", "sits down"}));
  EXPECT_EQ(questions[0].label, 1u);
  EXPECT_EQ(questions[0].line, 1);
  EXPECT_EQ(questions[1].context, "");
  EXPECT_EQ(questions[1].label, 0u);
  EXPECT_EQ(questions[1].line, 3);
}

TEST(Questions, ThatAreBrokenAreNamedByLine) {
  const ScratchFolder folder;
  const auto refuse = [&](const std::string& line, const std::string& found) {
    const std::string good = R"({"ctx":"a","endings":["b","c"],"label":0})";
    const auto file = folder.write("q.jsonl", good + "\n" + line + "\n");
    expect_input_error([&] { read_questions(file); }, {"q.jsonl:2", found});
  };
  refuse(R"({"ctx":"a","endings":["b","c"],"label":0)", "is not JSON");
  refuse("{\"ctx\":\"\xff\",\"endings\":[\"b\",\"c\"],\"label\":0}",
         "is not JSON");
  refuse("[]", "no JSON object");
  refuse(R"({"endings":["b","c"],"label":0})", "no ctx or question");
  refuse(R"({"ctx":3,"endings":["b","c"],"label":0})", "ctx is no text");
  refuse(R"({"ctx":"a","label":0})", "no endings");
  refuse(R"({"ctx":"a","endings":["b"],"label":0})", "1 endings");
  refuse(R"({"ctx":"a","endings":["b",""],"label":0})", "endings[1] is empty");
  refuse(R"({"ctx":"a","endings":["b",4],"label":0})", "endings[1] is no text");
  refuse(R"({"ctx":"a","endings":["b","c"]})", "no label");
  refuse(R"({"ctx":"a","endings":["b","c"],"label":2})", "label 2");
  refuse(R"({"ctx":"a","endings":["b","c"],"label":-1})", "label -1");
  refuse(R"({"ctx":"a","endings":["b","c"],"label":"1x"})", "label \"1x\"");
  refuse(R"({"ctx":"a","endings":["b","c"],"label":""})", "0 to 1");
  expect_input_error([&] { read_questions(folder.write("none", "\n \n")); },
                     {"none", "no question in 2 lines"});
  expect_input_error([&] { read_questions(folder.path() / "gone.jsonl"); },
                     {"gone.jsonl"});
}

TEST(ChoiceRows, HoldContextAndEnding) {
  const ScratchFolder folder;
  const ByteTokenizer bytes;
  const ChoiceRows rows(folder.write("q.jsonl", kTwo), bytes, 16, 4);
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows.cut(), 0);
  // "A man" + " runs": nine targets, of which the last five count.
  EXPECT_EQ(rows.ending(0).first, 4);
  EXPECT_EQ(rows.ending(0).count, 5);
  const std::uint64_t both[] = {0, 2};
  const HostBatch batch = rows.make(both);
  ASSERT_EQ(batch.samples, 2);
  const std::string text = "A man runs";
  Ids input(24, 0), target(24, 0);
  std::copy(text.begin(), text.end() - 1, input.begin());
  std::copy(text.begin() + 1, text.end(), target.begin());
  // No context: the end of the document before it, byte 0, and no blank.
  target[12] = 'x';
  EXPECT_EQ(std::get<Ids>(batch.input), input);
  EXPECT_EQ(std::get<Ids>(batch.target), target);
  EXPECT_EQ(rows.ending(2).first, 0);
  EXPECT_EQ(rows.ending(2).count, 1);
}

TEST(ChoiceRows, LeaveOutTheFrontOfALongContext) {
  const ScratchFolder folder;
  const ByteTokenizer bytes;
  const auto file =
      folder.write("q.jsonl",
                   R"({"ctx":"abcdef ","endings":["gh","ghijk"],"label":0})");
  const ChoiceRows rows(file, bytes, 5, 4);
  EXPECT_EQ(rows.cut(), 1);
  const std::uint64_t both[] = {0, 1};
  const HostBatch batch = rows.make(both);
  EXPECT_EQ(std::get<Ids>(batch.input),
            (Ids{'d', 'e', 'f', ' ', 'g', ' ', 'g', 'h', 'i', 'j'}));
  EXPECT_EQ(std::get<Ids>(batch.target),
            (Ids{'e', 'f', ' ', 'g', 'h', 'g', 'h', 'i', 'j', 'k'}));
  EXPECT_EQ(rows.ending(0).first, 3);
  EXPECT_EQ(rows.ending(1).first, 0);
  expect_input_error([&] { ChoiceRows(file, bytes, 4, 4); },
                     {"q.jsonl:1", "an ending of 5 tokens", "model, 4"});
}

TEST(ChoiceRows, ThatCannotBeEncodedAreNamedByLine) {
  const ScratchFolder folder;
  const ByteTokenizer bytes;
  const auto file = folder.write(
      "q.jsonl",
      "\n{\"ctx\":\"a\\u0000b\",\"endings\":[\"c\",\"d\"],\"label\":0}");
  expect_input_error([&] { ChoiceRows(file, bytes, 9, 4); }, {"q.jsonl:2: "});
}

TEST(ChoiceRows, AreBatchedByLengthEachOnce) {
  const ScratchFolder folder;
  const ByteTokenizer bytes;
  std::string lines;
  for (int i = 0; i < 40; ++i) {
    lines += R"({"ctx":"c","endings":[")" + std::string(1 + i * 7 % 23, 'x') +
             R"(",")" + std::string(1 + i * 5 % 19, 'y') + "\"],\"label\":0}\n";
  }
  const ChoiceRows rows(folder.write("q.jsonl", lines), bytes, 30, 8);
  std::set<std::uint64_t> seen;
  for (const auto& batch : rows.batches(64)) {
    const HostBatch made = rows.make(batch);
    EXPECT_LE(std::get<Ids>(made.input).size(), 64u);
    for (const auto row : batch) EXPECT_TRUE(seen.insert(row).second);
  }
  EXPECT_EQ(seen.size(), rows.size());
  // Where no two fit, each goes alone.
  EXPECT_EQ(rows.batches(1).size(), rows.size());
}

TEST(BytesOfIds, AreThoseOfTheDecodedText) {
  const ByteTokenizer bytes;
  const auto of_bytes = bytes_of_ids(bytes);
  ASSERT_EQ(of_bytes.size(), 256u);
  EXPECT_EQ(of_bytes[0], 0) << "the end of a document is no text";
  EXPECT_EQ(of_bytes['a'], 1);
  const auto gpt2 = make_tokenizer("gpt2");
  const auto of_pairs = bytes_of_ids(*gpt2);
  ASSERT_EQ(of_pairs.size(), 50257u);
  EXPECT_EQ(of_pairs[50256], 0);
  const std::string text = "Fellow citizens, na\xc3\xafve caf\xc3\xa9s! 1789";
  std::int64_t sum = 0;
  for (const auto id : gpt2->encode(text)) sum += of_pairs[id];
  EXPECT_EQ(sum, static_cast<std::int64_t>(text.size()));
}

}  // namespace
}  // namespace mumoe::data
