// Why this exists: a stack overflow cannot be caught; a body that nests without end is refused before it is read.
using System.Text;

namespace CoCLR.TrialCluster.Tests;

public sealed class DeepBodyTests
{
    [Theory]
    [InlineData("a: ", "[", true)]
    [InlineData("", "{\"a\":", true)]
    [InlineData("", "[", false)]
    [InlineData("a: &a [*a]", "", true)]
    public void Parse_NestedWithoutEnd_IsABadRequest(string begin, string piece, bool yaml)
    {
        byte[] body = Encoding.UTF8.GetBytes(begin + string.Concat(Enumerable.Repeat(piece, 100_000)));
        Assert.Equal(400, Assert.Throws<ApiException>(() => Json.Parse(body, yaml)).Code);
    }
}
