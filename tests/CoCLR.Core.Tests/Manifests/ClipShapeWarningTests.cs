// Why this exists: hours are lost on clips in which a network sees no motion and on keys that batch norm gives away.
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Tests.Manifests;

public sealed class ClipShapeWarningTests
{
    [Theory]
    [InlineData(32, 128, 32, 1, null)]
    [InlineData(16, 64, 32, 1, null)]
    [InlineData(16, 64, 32, 4, null)]
    [InlineData(8, 48, 32, 1, "spec.clip|1x1x1|at least 13 frames of 49 pixels")]
    [InlineData(16, 64, 32, 8, "spec.training.batchNormGroups|32 values|4 or fewer")]
    [InlineData(16, 64, 4, 1, "spec.training.batchSize|32 values")]
    [InlineData(16, 64, 32, 1, "spec.training.shards|32 values a channel of a shard", 8)]
    [InlineData(16, 64, 32, 4, "spec.training.batchNormGroups|16 values|1 or fewer", 4)]
    public void Warnings_NameTheNumberAndWhatFits(int frames, int size, int batch, int groups, string? expected, int shards = 1)
    {
        var spec = new ExperimentSpec
        {
            Model = new ModelSpec { Backbone = BackboneName.S3DMini },
            Clip = new ClipSpec { Frames = frames, Size = size },
            Training = new TrainingSpec { BatchSize = batch, BatchNormGroups = groups, Shards = shards },
        };
        var warnings = ClipShape.Warnings(spec).Select(w => w.ToString()).ToArray();
        if (expected is null)
        {
            Assert.Empty(warnings);
        }
        else
        {
            Assert.All(expected.Split('|'), part => Assert.Contains(part, warnings[0], StringComparison.Ordinal));
        }
    }
}
