/**
 * Passwords of twelve characters and more that stand near the top of published lists of leaked ones, or that anybody would
 * try against this program: what shorter ones there are, the length refuses. Compared in lower case, without what is no
 * letter or digit.
 */
export const COMMON_PASSWORDS: ReadonlySet<string> = new Set([
  '123456789012', '1234567890123', '12345678901234', '123456789012345', '1234567890123456', '12345678910111213', '123123123123', '111111111111', '000000000000', '0123456789012',
  'password1234', 'password12345', 'password123456', 'passwordpassword', 'mypassword123', 'passw0rd1234', 'p4ssw0rd1234', 'newpassword1', 'newpassword123', 'changemenow1', 'changeme1234', 'changemechangeme',
  'administrator', 'administrator1', 'administrator123', 'adminadmin123', 'adminadminadmin', 'adminpassword', 'adminpassword1', 'admin1234567', 'admin12345678', 'admin123456789', 'rootrootroot', 'rootpassword',
  'qwertyuiop12', 'qwertyuiop123', 'qwertyqwerty', 'qwerty123456', 'qwerty1234567', 'qwertyuiopas', 'qwertyuiopasdfghjkl', 'asdfghjkl123', '1qaz2wsx3edc', '1q2w3e4r5t6y', 'qazwsxedcrfv', 'zaq12wsxcde3',
  'abcdefghijkl', 'abcdefghijklmnop', 'abcd12345678', 'abc123abc123', 'abcabcabcabc', 'aaaaaaaaaaaa', 'iloveyou1234', 'iloveyouforever', 'letmeinletmein', 'letmein12345', 'welcome12345', 'welcome123456', 'welcomewelcome',
  'football1234', 'baseball1234', 'princess1234', 'dragondragon', 'monkeymonkey', 'sunshine1234', 'superman1234', 'trustno1trustno1', 'correcthorsebatterystaple', 'testtesttest', 'test12345678', 'testpassword', 'secretsecret', 'secretpassword',
  'carilloncarillon', 'carillon1234', 'carillonadmin', 'carillonpassword', 'defaultpassword', 'temporarypassword', 'summer202420', 'winter202420', 'thisisapassword', 'thisismypassword',
]);
