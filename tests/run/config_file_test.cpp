// Text in configurations: what is written reads back as the same bytes, and
// what cannot be meant is refused with file and line.
#include "run/config_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "run/command_line.h"
#include "run/option_table.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

const std::vector<std::string>& text_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> names;
    for (const Key& key : option_table()) {
      if (key.text.is_text) names.push_back(key.name);
    }
    return names;
  }();
  return keys;
}

/// Any bytes but zero, most of them such as mean something to a parser.
std::string any_text() {
  const std::string special = "#;\"'\\[]= \t\n\r\x01\x1b\x7f-,:ax\xc3\xa9\xff";
  const auto byte = rc::gen::oneOf(
      rc::gen::elementOf(special),
      rc::gen::map(rc::gen::inRange(1, 256),
                   [](int value) { return static_cast<char>(value); }));
  const auto size = *rc::gen::inRange(0, 24);
  return *rc::gen::container<std::string>(size, byte);
}

std::map<std::string, std::string> any_values() {
  std::map<std::string, std::string> values;
  for (const std::string& key : text_keys()) values[key] = any_text();
  return values;
}

CommandLine line_of(const std::map<std::string, std::string>& values) {
  std::vector<std::string> arguments;
  for (const auto& [key, value] : values) {
    // `--key value` takes any value but what is an option itself.
    if (*rc::gen::arbitrary<bool>()) {
      arguments.insert(arguments.end(), {"--" + key, value});
    } else {
      arguments.push_back("--" + key + "=" + value);
    }
  }
  return read_command_line(arguments);
}

RC_GTEST_PROP(ConfigText, ReadsBackAsItWas, ()) {
  const auto values = any_values();
  const CommandLine line = line_of(values);
  for (const auto& [key, value] : values) {
    RC_ASSERT(to_map(line.options).at(key) == value);
  }
  const ScratchFolder folder;
  const auto file = folder.write("config.cfg", to_config_text(line.options));
  RC_ASSERT(to_map(read_config(file)) == to_map(line.options));
}

RC_GTEST_PROP(ConfigText, WithOriginsReadsBackAsItWas, ()) {
  const ScratchFolder folder;
  const auto values = any_values();
  const auto file =
      folder.write("a \n#b.cfg", to_config_text(line_of(values).options));
  const auto line = read_command_line({"--config", file});
  const auto printed =
      folder.write("printed.cfg", to_config_text(line.options, &line.origins));
  RC_ASSERT(to_map(read_config(printed)) == to_map(line.options));
}

RC_GTEST_PROP(ConfigText, DamagedIsReadOrRefusedInOneLine, ()) {
  const CommandLine line = line_of(any_values());
  std::string text = to_config_text(line.options, &line.origins);
  const int changes = *rc::gen::inRange(1, 6);
  for (int i = 0; i < changes; ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    const auto inserted = any_text();
    text.replace(at, *rc::gen::inRange(0, 9), inserted);
  }
  if (*rc::gen::arbitrary<bool>()) text[text.size() / 2] = '\0';
  const ScratchFolder folder;
  const auto file = folder.write("config.cfg", text);
  try {
    read_config(file);
  } catch (const InputError& error) {
    RC_ASSERT(std::string(error.what()).find('\n') == std::string::npos);
  }
}

std::string source_in(const std::string& line) {
  const auto entries = parse_config("[data]\n" + line, "a.cfg");
  return entries.size() == 1 ? entries[0].value : "(no entry)";
}

TEST(ConfigValues, AreWholeUpToAComment) {
  EXPECT_EQ(source_in("source = /data/set#2"), "/data/set#2");
  EXPECT_EQ(source_in("source=/data/set#2 # the second"), "/data/set#2");
  EXPECT_EQ(source_in("source = a b\t# tab"), "a b");
  EXPECT_EQ(source_in("source = a ## many"), "a");
  EXPECT_EQ(source_in("source = a;b ; c"), "a;b ; c");
  EXPECT_EQ(source_in("source = [x] = \"y\" \\n"), "[x] = \"y\" \\n");
  EXPECT_EQ(source_in("source = it's"), "it's");
  EXPECT_EQ(source_in("source ="), "");
  EXPECT_EQ(source_in("source = # nothing"), "");
  EXPECT_EQ(source_in("source = \"\""), "");
  EXPECT_EQ(source_in("  source\t=\t caf\xc3\xa9 \xff \r"), "caf\xc3\xa9 \xff");
  EXPECT_EQ(source_in(R"(source = " a # \"b\" \\ \n\t\r\x1B " # c)"),
            " a # \"b\" \\ \n\t\r\x1b ");
  EXPECT_EQ(source_in("source = \"a\"#b"), "a");
  EXPECT_EQ(source_in("# source = a"), "(no entry)");
}

TEST(ConfigValues, StandInQuotesWhereTheyMust) {
  EXPECT_EQ(to_config_value("plain text = [x];"), "plain text = [x];");
  EXPECT_EQ(to_config_value("C:\\new"), "C:\\new");
  EXPECT_EQ(to_config_value(""), "");
  EXPECT_EQ(to_config_value(" a"), "\" a\"");
  EXPECT_EQ(to_config_value("a #b"), "\"a #b\"");
  EXPECT_EQ(to_config_value("a\n\x01\"\\"), R"("a\n\x01\"\\")");
}

TEST(ConfigFiles, MayComeFromOtherSystems) {
  const auto read = [](const std::string& text) {
    std::map<std::string, std::string> values;
    for (const auto& entry : parse_config(text, "a.cfg")) {
      values[entry.name] = entry.value;
    }
    return values;
  };
  const std::map<std::string, std::string> expected = {{"a.b", "1"},
                                                       {"a.c", "2"}};
  EXPECT_EQ(read("\xEF\xBB\xBF[a]\nb = 1\nc = 2\n"), expected) << "BOM";
  EXPECT_EQ(read("[a]\r\nb = 1\r\nc = 2\r\n"), expected) << "CRLF";
  EXPECT_EQ(read("[ a ] # x\nb = 1\nc = 2"), expected) << "no last newline";
  EXPECT_EQ(read("a.b = 1\n[a]\nc = 2"), expected) << "no section needed";
  EXPECT_TRUE(read("").empty());
}

TEST(ConfigFiles, MistakesAreNamedWithFileAndLine) {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& text,
                           std::initializer_list<std::string> parts) {
    SCOPED_TRACE(text);
    const auto file = folder.write("a.cfg", text);
    expect_input_error([&] { read_command_line({"--config", file}); }, parts);
  };
  refused("[train]\nsteps = 5\nsteps = 6\n",
          {"a.cfg:3: train.steps", "line 2 already"});
  refused("\n[train\nsteps = 5\n", {"a.cfg:2: [train: expected [section]"});
  refused("[]\n", {"a.cfg:1: []: expected [section]"});
  refused("[train] steps = 5\n", {"a.cfg:1:", "steps = 5"});
  refused("steps = 5\n",
          {"a.cfg:1: steps stands in no section", "train.steps"});
  refused("n_layer = 5\n",
          {"n_layer stands in no section", "did you mean model.depth?"});
  refused("epochs = 5\n", {"epochs stands in no section", "train.epochs"});
  refused("[train]\nsteps\n", {"a.cfg:2: steps: expected", "key = value"});
  refused("[train]\nsteps: 5\n", {"a.cfg:2: steps: 5: expected"});
  refused("[train]\n; note = 5\n", {"a.cfg:2: ; note = 5", "# comment"});
  refused("[train]\n= 5\n", {"a.cfg:2:", "key = value"});
  refused("[train]\nsteps # = 5\n", {"a.cfg:2:", "key = value"});
  refused("[train]\nstep = 5\n",
          {"a.cfg:2: unknown key train.step", "train.steps"});
  refused("[train]\n\nsteps = 5#6\n",
          {"a.cfg:3: train.steps = 5#6: expected a whole number"});
  refused("[data]\nsource = /data/set #2\n",
          {"a.cfg:2: data.source = /data/set #2", "\"/data/set #2\""});
  refused("[data]\nsource = #2\n", {"a.cfg:2: data.source", "\"#2\""});
  refused("[train]\nout = 'runs/a'\n", {"a.cfg:2:", "\"'runs/a'\""});
  refused("[train]\nout = \"a\n", {"a.cfg:2: \"a: a quote that is not closed"});
  refused("[train]\nout = \"a\\\"\n", {"a.cfg:2:", "not closed"});
  refused("[train]\nout = \"a\" b\n", {"a.cfg:2:", "# comment before b"});
  refused("[train]\nout = \"C:\\data\"\n", {"a.cfg:2:", "after a backslash"});
  refused("[train]\nout = \"\\x00\"\n", {"a.cfg:2:", "not \\x00"});
  refused("[train]\nout = a\rb\n", {"a.cfg:2:", "a control character"});
  refused(std::string("[train]\nsteps = 5\0\n", 19), {"a.cfg:2:", "zero byte"});
  refused(std::string("\x7f"
                      "ELF\x02\x01\x00",
                      7),
          {"a.cfg:1:", "zero byte"});
  refused("[train]\nsteps = " + std::string(60000, '7') + "\n",
          {"a.cfg:2:", "expected a whole number"});
  refused("#" + std::string(70000, ' '), {"a.cfg:1:", "at most 65536"});
  refused(std::string((1 << 20) + 1, '\n'), {"a.cfg: ", "at most 1048576"});
}

TEST(ConfigFiles, WhatIsNoFileIsNamedAtOnce) {
  const ScratchFolder folder;
  const auto refused = [](const std::string& path, const std::string& reason) {
    expect_input_error(
        [&] {
          read_command_line({"--config", path});
        },
        {path, reason});
  };
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  refused(pipe, "Not a regular file");
  refused(folder.path(), "Is a directory");
  refused(folder.path() / "none", "No such file");
  refused("", "No such file");
  EXPECT_NO_THROW(read_command_line({"--config", folder.write("a.cfg", "")}));
  expect_input_error([&] { read_config(folder.write("config.cfg", "\n")); },
                     {"config.cfg: holds no settings"});
}

TEST(CommandLine, TakesAnyTextAsAValue) {
  const auto source = [](const std::vector<std::string>& arguments) {
    return read_command_line(arguments).options.source;
  };
  for (const std::string value : {"-x",
                                  "--x",
                                  "-",
                                  "--",
                                  "a=b",
                                  "=",
                                  "--a=b",
                                  "-5",
                                  "",
                                  " ",
                                  "#a",
                                  "a\nb",
                                  "\xff"}) {
    EXPECT_EQ(source({"--data.source=" + value}), value);
    EXPECT_EQ(source({"--data.source", value}), value);
    EXPECT_EQ(source({"--data.source", value, "--train.steps", "60"}), value);
  }
  EXPECT_EQ(source({"--data.source=--train.steps"}), "--train.steps");
  expect_input_error(
      [&] {
        source({"--data.source", "--train.steps", "60"});
      },
      {"command line", "data.source"});
  expect_input_error([&] { source({"--data.source"}); }, {"data.source"});
  expect_input_error(
      [&] {
        source({"--data.source=a", "--data.source=b"});
      },
      {"data.source", "more than once"});
  EXPECT_EQ(read_command_line({"--train.resume", "--data.source", "a"})
                .options.resume,
            Resume::yes);
}

TEST(OwnOptions, NumbersAreExactAndErrorsNameTheOption) {
  const std::vector<OwnOption> own{{"seed", "N"},
                                   {"share", "X"},
                                   {"rounds", "N"}};
  const auto line = read_command_line(
      {"--seed", "18446744073709551615", "--share=0.5", "--rounds", "-3"},
      "",
      own);
  EXPECT_EQ(line.number("seed", std::uint64_t{0}), 18446744073709551615u);
  EXPECT_EQ(line.number("share", 1.0), 0.5);
  EXPECT_EQ(line.number("missing", 7), 7);
  EXPECT_EQ(line.text("missing", "a"), "a");
  expect_input_error([&] { line.number("rounds", 7, 1, 100); },
                     {"--rounds -3: expected a whole number, 1 to 100"});
  expect_input_error([&] { line.number("share", std::uint64_t{0}); },
                     {"--share 0.5: expected a whole number, 0 to 1844674407"});
}

TEST(Keys, NumbersAreExactAndErrorsSayWhatFits) {
  const auto seed = [](const std::string& text) {
    return read_command_line({"--train.seed", text}).options.trainer.seed;
  };
  EXPECT_EQ(seed("18446744073709551615"), 18446744073709551615u);
  EXPECT_EQ(seed("9007199254740993"), 9007199254740993u);
  for (const char* text : {"-1",
                           "1e3",
                           "0x1f",
                           "+1",
                           " 1",
                           "1 ",
                           "18446744073709551616",
                           "",
                           "nan"}) {
    expect_input_error([&] { seed(text); },
                       {fmt::format("train.seed = {}: expected a whole ", text),
                        "0 to 18446744073709551615"});
  }
  const auto refused = [](const std::string& key, const std::string& value) {
    expect_input_error(
        [&] {
          read_command_line({"--" + key, value});
        },
        {"command line: " + key + " = " + value + ": expected"});
  };
  for (const Key& key : option_table()) {
    if (key.text.is_text) continue;
    for (const char* text : {"", "nan", "-inf", "1e999", "0x1", "1 2", "+1"}) {
      refused(key.name, text);
    }
  }
}

TEST(Keys, SizesBeyondAllBoundsAreRefusedByName) {
  for (const std::string key :
       {"depth", "heads", "width", "hidden", "context", "vocab"}) {
    for (const char* value :
         {"16777217", "4611686018427387904", "9223372036854775807"}) {
      expect_input_error(
          [&] {
            read_command_line({"--model." + key, value});
          },
          {fmt::format("model.{} = {}", key, value),
           "expected at most 16777216"});
    }
  }
}

}  // namespace
}  // namespace mumoe::run
