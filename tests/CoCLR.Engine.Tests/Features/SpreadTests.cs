// Why this exists: collapse must be told from learning by numbers that are right.
using CoCLR.Engine.Features;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Features;

public sealed class SpreadTests
{
    [Fact]
    public void EffectiveRank_CountsTheDirections()
    {
        using var scope = NewDisposeScope();
        var four = zeros(8, 16);
        for (var i = 0; i < 4; i++)
        {
            four[2 * i, i] = 1;
            four[(2 * i) + 1, i] = -1;
        }

        Assert.Equal(4, Spread.EffectiveRank(four), 1e-6);
        Assert.Equal(1, Spread.EffectiveRank(linspace(0, 1, 9).unsqueeze(1) * ones(1, 5)), 1e-3);
        Assert.Equal(1, Spread.EffectiveRank(ones(6, 5)));
        Assert.InRange(Spread.EffectiveRank(randn(200, 16, generator: new Generator(1, CPU))), 15, 16);
    }

    [Fact]
    public void AlignmentAndUniformity_AreTheFormulas()
    {
        using var scope = NewDisposeScope();
        var embeddings = nn.functional.normalize(randn(7, 5, generator: new Generator(2, CPU)), 2, 1);
        int[] videos = [0, 0, 1, 1, 2, 3, 3];
        double Distance(int a, int b) => (embeddings[a] - embeddings[b]).square().sum().item<float>();

        Assert.Equal((Distance(0, 1) + Distance(2, 3) + Distance(5, 6)) / 3, Spread.Alignment(embeddings, videos), 1e-5);
        int[] first = [0, 2, 4, 5];
        var sum = 0.0;
        foreach (var a in first)
        {
            sum += first.Where(b => b != a).Sum(b => Math.Exp(-2 * Distance(a, b)));
        }

        Assert.Equal(Math.Log(sum / 12), Spread.Uniformity(embeddings, videos), 1e-5);
        Assert.Equal(0, Spread.Uniformity(nn.functional.normalize(ones(7, 5), 2, 1), videos), 1e-6);
        Assert.True(double.IsNaN(Spread.Alignment(embeddings, [0, 1, 2, 3, 4, 5, 6])));
    }
}
