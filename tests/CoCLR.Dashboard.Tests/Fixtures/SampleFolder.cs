// Why this exists: writes the sample runs to a folder that a person names, to look at the pages by hand.
using CoCLR.Core.Manifests;

namespace CoCLR.Dashboard.Tests.Fixtures;

public sealed class SampleFolder
{
    [Fact(Explicit = true)]
    public void Write()
    {
        string folder = Environment.GetEnvironmentVariable("COCLR_SAMPLE_DIR") ?? "";
        Assert.SkipWhen(folder.Length == 0, "COCLR_SAMPLE_DIR names no folder");
        WriteAll(folder);
    }

    /// <summary>The runs that the pages are looked at with.</summary>
    internal static void WriteAll(string folder)
    {
        var runs = new SampleRuns(Path.Combine(folder, "runs"));
        runs.Write("demo-infonce", Method.InfoNCE, quality: 0.46);
        runs.Write("demo-coclr", Method.CoCLR, quality: 0.66);
        runs.Write("demo-ubernce", Method.UberNCE, quality: 0.78);
        runs.Write("ucf-coclr-long", Method.CoCLR, SampleRuns.Until.Learning, seed: 1, epochs: 30);
        runs.Write("wide-batch", Method.CoCLR, SampleRuns.Until.Failed, seed: 2);
        runs.Write("next-in-line", Method.Cmc, SampleRuns.Until.Planned, seed: 3);
    }
}
