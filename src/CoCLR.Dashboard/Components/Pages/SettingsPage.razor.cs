// Why this exists: makes and ends tokens.
using System.Globalization;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Tokens for machines, and what the dashboard itself is doing.</summary>
public sealed partial class SettingsPage
{
    private const int DeedsShown = 50;
    private static readonly (string Key, string Name)[] Lifetimes =
        [("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("0", "Never")];
    private string _name = "";
    private string _role = Roles.Viewer;
    private string _namespaces = "";
    private string _days = "90";
    private string? _secret;
    private string? _problem;
    private IReadOnlyList<AuditEntry> _deeds = [];

    [Inject]
    private Tokens Secrets { get; set; } = null!;

    [Inject]
    private IDialogService Dialogs { get; set; } = null!;

    [Inject]
    private Microsoft.Extensions.Options.IOptions<DashboardOptions> Options { get; set; } = null!;

    [Inject]
    private SignInMode Mode { get; set; } = null!;

    [Inject]
    private AuditLog Audit { get; set; } = null!;

    [Inject]
    private TokenUse Use { get; set; } = null!;

    private DateTimeOffset? LastDay => _days == "0" ? null : Now.AddDays(int.Parse(_days, CultureInfo.InvariantCulture));

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(3);

    /// <inheritdoc/>
    protected override void Refresh() => _deeds = User.MayAdminister() ? Audit.Newest(DeedsShown) : [];

    private void Create()
    {
        string[] spaces = _namespaces.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);
        _problem = spaces.FirstOrDefault(s => !RunFolder.IsName(s)) is { } wrong
            ? $"'{wrong}' is no namespace: use plain names, such as team-a, with commas between them." : null;
        if (_problem != null || !User.MayAdminister() || _name.Trim().Length == 0)
        {
            return;
        }

        (ApiToken token, _secret) = Secrets.CreateApi(_name.Trim(), _role, spaces, LastDay);
        Audit.Add(User, "make-token", $"{token.Id} ({token.Role})");
        _name = "";
        Refresh();
    }

    private void Revoke(ApiToken token)
    {
        if (User.MayAdminister() && Secrets.Revoke(token.Id))
        {
            Audit.Add(User, "revoke-token", token.Id);
            Refresh();
        }
    }
}
