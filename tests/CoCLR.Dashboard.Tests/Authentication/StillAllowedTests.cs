// Why this exists: what opened a page or a stream must keep holding while it is open.
using System.Security.Claims;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Dashboard.Tests.Authentication;

public sealed class StillAllowedTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(Make.Start);
    private readonly SettingsFile _settings;
    private readonly IOptions<DashboardOptions> _options;

    public StillAllowedTests()
    {
        _options = Options.Create(new DashboardOptions { WorkDir = _folder.Path });
        _settings = new SettingsFile(_options, new LiveFeed(), NullLogger<SettingsFile>.Instance);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Token_ThatEndsOrChanges_EndsWhatItOpened()
    {
        StillAllowed allowed = New(AuthenticationMode.BrowserToken);
        ApiToken token = new Tokens(_options, _settings, _clock).CreateApi("x", Roles.Editor, [], Make.Start.AddHours(1)).Token;
        ClaimsPrincipal user = User(token.Id, Roles.Editor);
        Assert.True(allowed.Is(user));

        _settings.Change(s => s with { Tokens = [token with { Role = Roles.Viewer }] });
        Assert.False(allowed.Is(user));
        _settings.Change(s => s with { Tokens = [token] });
        Assert.True(allowed.Is(user));

        _clock.Advance(TimeSpan.FromHours(1));
        Assert.False(allowed.Is(user));
        _settings.Change(s => s with { Tokens = [] });
        Assert.False(allowed.Is(user));
    }

    [Theory]
    [InlineData(AuthenticationMode.BrowserToken, "admin", true)]
    [InlineData(AuthenticationMode.Token, "admin", true)]
    [InlineData(AuthenticationMode.Token, "editor", false)]
    [InlineData(AuthenticationMode.OpenIdConnect, "admin", false)]
    public void Session_OfTheLink_HoldsWhileThatIsTheWayIn(AuthenticationMode mode, string role, bool holds) =>
        Assert.Equal(holds, New(mode).Is(User(Policies.LinkToken, role)));

    [Fact]
    public void Nobody_IsNotAllowed()
    {
        Assert.False(New(AuthenticationMode.BrowserToken).Is(null));
        Assert.False(New(AuthenticationMode.BrowserToken).Is(new ClaimsPrincipal(new ClaimsIdentity())));
        Assert.True(New(AuthenticationMode.OpenIdConnect).Is(new ClaimsPrincipal(new ClaimsIdentity([], "oidc"))));
    }

    private StillAllowed New(AuthenticationMode mode) => new(_options, _settings, new SignInMode(mode), _clock);

    private static ClaimsPrincipal User(string token, string role) =>
        new(new ClaimsIdentity([new Claim(Policies.TokenClaim, token), new Claim(ClaimTypes.Role, role)], "token"));
}
