#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "study/scale/scale_result.h"

namespace mumoe::study {

/// The folder of a study, which no other process measures into meanwhile:
/// study.json and results.jsonl, which grows line by line. All functions throw
/// `InputError` naming path and reason.
class StudyFolder {
 public:
  /// Makes the folder if need be and reads what is there; `text` becomes its
  /// study.json. Throws where another process holds it, or it has files and
  /// none of a study. What a crash has left of a last line is cut off.
  StudyFolder(std::filesystem::path folder, const std::string& text);
  ~StudyFolder();
  StudyFolder(const StudyFolder&) = delete;
  StudyFolder& operator=(const StudyFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }
  /// All lines of results.jsonl, also of earlier starts.
  const std::vector<ScaleResult>& results() const { return results_; }
  /// What was found otherwise than expected: lines.
  const std::vector<std::string>& notes() const { return notes_; }
  /// Adds a line, which outlasts a power cut when this returns.
  void append(const ScaleResult& result);

 private:
  std::filesystem::path file() const { return folder_ / "results.jsonl"; }
  void keep_study(const std::string& text);

  std::filesystem::path folder_;
  std::vector<FileLock> lock_;
  std::vector<ScaleResult> results_;
  std::vector<std::string> notes_;
  int fd_ = -1;
};

}  // namespace mumoe::study
