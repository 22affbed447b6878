// Why this exists: a run can only be repeated when the same seed gives the same network.
using CoCLR.Engine.Models;

namespace CoCLR.Engine.Tests.Models;

public class SeedTests
{
    public static TheoryData<string> Names => [.. BackboneFactory.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Create_SameSeed_SameWeightsAndOtherSeedOther(string name)
    {
        using var first = new VideoClassifier(BackboneFactory.Create(name, 5), 7, probe: false, seed: 5);
        using var second = new VideoClassifier(BackboneFactory.Create(name, 5), 7, probe: false, seed: 5);
        using var other = new VideoClassifier(BackboneFactory.Create(name, 6), 7, probe: false, seed: 6);
        var (a, b, c) = (first.state_dict(), second.state_dict(), other.state_dict());
        Assert.All(a, entry => Assert.True(Close.Same(b[entry.Key], entry.Value), entry.Key));
        Assert.All(a.Where(e => e.Value.dim() > 1), entry => Assert.False(Close.Same(c[entry.Key], entry.Value), entry.Key));
    }
}
