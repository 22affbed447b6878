// Why this exists: the layout of a run folder is a contract; whoever spells a part of it elsewhere breaks when it changes.
using System.Text.RegularExpressions;

namespace CoCLR.Runs.Tests;

public sealed partial class LayoutTests
{
    private static readonly string s_root =
        Path.GetFullPath(Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Path.Combine(AppContext.BaseDirectory, "../../../../.."));

    [Fact]
    public void NamesOfTheRunFolder_StandOnlyHere()
    {
        IEnumerable<string> files = new[] { "src", "operator" }
            .SelectMany(f => Directory.EnumerateFiles(Path.Combine(s_root, f), "*.*", SearchOption.AllDirectories))
            .Where(
                f => (f.EndsWith(".cs", StringComparison.Ordinal) || f.EndsWith(".razor", StringComparison.Ordinal)) && !IsBuilt(f)
                    && !f.Contains("/CoCLR.Runs/", StringComparison.Ordinal));
        var found = new List<string>();
        foreach (string file in files)
        {
            string[] lines = File.ReadAllLines(file);
            found.AddRange(
                lines.Select((line, at) => (line, at))
                    .Where(l => !l.line.TrimStart().StartsWith("//", StringComparison.Ordinal) && Spells(l.line))
                    .Select(l => $"{Path.GetRelativePath(s_root, file)}({l.at + 1}): {l.line.Trim()}"));
        }

        Assert.Empty(found);
    }

    [Theory]
    [InlineData("""Path.Combine(folder, "events.jsonl")""", true)]
    [InlineData("""Path.Combine(folder, "stages", name)""", true)]
    [InlineData("""$"previews/{view}.mp4";""", true)]
    [InlineData("""status["stages"]""", false)]
    [InlineData("""$"/api/runs/{run}/artifacts/{id}";""", false)]
    public void Spells_Line_IsJudged(string line, bool spells) => Assert.Equal(spells, Spells(line));

    private static bool Spells(string line) =>
        FileName().IsMatch(line) || (line.Contains("Path.", StringComparison.Ordinal) && FolderName().IsMatch(line))
            || RelativePath().IsMatch(line);

    private static bool IsBuilt(string file) =>
        file.Contains("/obj/", StringComparison.Ordinal) || file.Contains("/bin/", StringComparison.Ordinal);

    [GeneratedRegex("""["/](events\.jsonl|plan\.json|result\.json|report\.json|report\.md|checkpoint\.safetensors|checkpoint\.json|run\.lock|events\.sent|artifacts\.sent)\b|"[^"]*[ (](events\.jsonl|plan\.json|result\.json|report\.json|report\.md|checkpoint\.safetensors|checkpoint\.json)\b""")]
    private static partial Regex FileName();

    [GeneratedRegex("""
        "(stages|artifacts|previews|features)"
        """)]
    private static partial Regex FolderName();

    [GeneratedRegex("""
        "(stages|artifacts|previews|features)/
        """)]
    private static partial Regex RelativePath();
}
